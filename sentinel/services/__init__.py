"""The services that `sentinel up` brings along: PostgreSQL, Redis and Kafka, each replaced by its URL in the environment."""
