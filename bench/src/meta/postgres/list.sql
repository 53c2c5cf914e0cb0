select f.name, f.kind, f.size, f.modified_ns, f.mode, f.version, v.content, p.rights
from files f
join versions v on v.file = f.id and v.number = f.version
join permissions p on p.file = f.id and p.principal = 'admin/admin'
where f.parent = $1
order by f.name
limit $2
