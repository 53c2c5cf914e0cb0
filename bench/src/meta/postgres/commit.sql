with file as (
    insert into files (parent, name, kind, size, modified_ns, mode, version)
    select $1, name, 1, 4096, 1767225600000000000, 420, 1 from unnest($2::text[]) as name
    returning id
), version as (
    insert into versions (file, number, author, committed, size, content, manifest)
    select id, 1, 'admin/admin', now(), 4096, $3, $4 from file
)
insert into permissions (file, principal, rights) select id, 'admin/admin', 7 from file
