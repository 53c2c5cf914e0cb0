#!/usr/bin/env bash
# Installs what `make bench` measures CloudSync's metadata against: etcd and PostgreSQL, from Debian. Does nothing when
# they are there, or when the arguments, which are bench's, name only other parts.
set -euo pipefail

say() { echo "bench-peers: $*" >&2; }

case " $* " in
*" --smoke "*) exit 0 ;;
*"only meta"* | *"only=meta"*) ;;
*"--only"*) exit 0 ;;
esac

missing=()
[ -x /usr/bin/etcd ] || missing+=(etcd-server)
compgen -G '/usr/lib/postgresql/*/bin/postgres' >/dev/null || missing+=(postgresql)
[ ${#missing[@]} -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
    say "missing: ${missing[*]} (Debian's names), and there is no apt-get to install them with. Either install them so that"
    say "they are /usr/bin/etcd and /usr/lib/postgresql/VERSION/bin, or leave them out: make bench ARGS='--only cluster'"
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    say "missing: ${missing[*]}. PostgreSQL is started as another user than the one who measures: run this as root"
    exit 1
fi
say "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# Only the programs: no server is to run that nobody has asked for.
mkdir -p /etc/postgresql-common/createcluster.d
echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.d/cloudsync-bench.conf
apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
