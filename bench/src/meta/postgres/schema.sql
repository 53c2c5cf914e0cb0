-- Files, their versions and who may do what with them, as the scenario describes them.
create table files (
    id bigint generated always as identity primary key,
    parent bigint not null,
    name text not null,
    kind smallint not null,
    size bigint not null,
    modified_ns bigint not null,
    mode int not null,
    version int not null,
    unique (parent, name)
);
create table versions (
    file bigint not null references files,
    number int not null,
    author text not null,
    committed timestamptz not null,
    size bigint not null,
    content bytea not null,
    manifest bytea not null,
    primary key (file, number)
);
create table permissions (
    file bigint not null references files,
    principal text not null,
    rights int not null,
    primary key (file, principal)
);
