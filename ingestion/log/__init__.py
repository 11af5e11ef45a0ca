"""The immutable log: Kafka, or a PostgreSQL table with the same meaning (`ingestion.log.base`)."""
