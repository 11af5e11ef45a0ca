"""How times are written: on call one compares seconds, with logs that are in UTC."""
