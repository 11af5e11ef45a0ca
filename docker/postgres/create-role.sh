#!/bin/sh
# Run once, by the postgres image, when the data directory is made: Sentinel's role and database. The role is no
# superuser; it needs no more than its own database. The password is never an argument.
set -eu
psql --set=ON_ERROR_STOP=1 --quiet --username=postgres --dbname=postgres <<'SQL'
\getenv password POSTGRES_PASSWORD
CREATE ROLE sentinel LOGIN CREATEDB PASSWORD :'password';
CREATE DATABASE sentinel OWNER sentinel;
SQL
