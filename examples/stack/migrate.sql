-- Brings the database to what web.py expects. It may run any number of times.
create table if not exists orders (id bigserial primary key, placed timestamptz not null default now());
