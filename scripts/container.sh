#!/usr/bin/env bash
# What scripts/test-service and scripts/test-inits have in common: a small Debian, made by debootstrap and booted in a container without
# a network, and a croft in it. They source it, in the project's folder, and have functions up, whether the container is up, and
# diagnose, which tells of a service that failed.

skip() {
	printf 'SKIPPED: %s: %s\n' "$0" "$*"
	[[ -z ${REQUIRE_ALL:-} ]]
	exit
}
[[ $(id -u) == 0 ]] || skip 'only root can boot a container'
for program in debootstrap systemd-nspawn nsenter curl; do
	command -v "$program" >/dev/null || skip "there is no $program on this machine"
done

work=$(mktemp -d)
root=$work/root
nspawn='' leader=''
cleanup() {
	[[ -z $leader ]] || kill -9 "$leader" 2>/dev/null || true
	[[ -z $nspawn ]] || wait "$nspawn" 2>/dev/null || true
	umount "$root" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT

fail() {
	printf '\n%s: %s\n' "$0" "$*"
	[[ ! -s $work/said ]] || tail -30 "$work/said"
	[[ -z $leader ]] || diagnose || true
	tail -5 "$work/console" 2>/dev/null || true
	exit 1
}
trap 'fail "line $LINENO"' ERR
began=0
passed() {
	printf 'ok  %-60s %3ss\n' "$*" $((SECONDS - began))
	began=$SECONDS
}

# until_ok SECONDS COMMAND…: tries until it succeeds; the time is for a machine that is very busy.
until_ok() {
	local deadline=$((SECONDS + $1))
	shift
	until "$@" >/dev/null 2>&1; do
		((SECONDS < deadline)) || return 1
		sleep 0.2
	done
}

### The container

# mirror prints where this machine's own apt gets Debian from, in both forms of its lists.
mirror() {
	{ cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources 2>/dev/null || true; } | awk -v suite="$VERSION_CODENAME" '
		$1 == "deb" { for (i = 2; i < NF; i++) if ($i ~ /^[a-z+]+:\/\// && $(i + 1) == suite) { print $i; exit } }
		$1 == "URIs:" { uri = $2 }
		$1 == "Suites:" { for (i = 2; i <= NF; i++) if ($i == suite && uri != "") { print uri; exit } }
		$1 == "" { uri = "" }'
}

# base NAME PACKAGES: makes the Debian that every run begins with a copy of, in ~/.cache/croft-test for the next time.
base() {
	# shellcheck source=/dev/null
	. /etc/os-release
	local cache=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/croft-test from
	base=$cache/$VERSION_CODENAME-$1
	[[ ! -d $base ]] || return 0
	from=$(mirror)
	[[ -n $from ]] || skip "apt's lists name no mirror of $VERSION_CODENAME"
	mkdir -p "$cache"
	rm -rf "$base.new"
	if ! debootstrap --variant=minbase --include="$2" "$VERSION_CODENAME" "$base.new" "$from" >"$work/debootstrap" 2>&1; then
		tail -5 "$work/debootstrap"
		skip 'debootstrap failed'
	fi
	rm -rf "$base.new"/var/cache/apt/archives/*.deb "$base.new"/var/lib/apt/lists/* "$base.new"/usr/share/{doc,locale,man}
	mv "$base.new" "$base"
}

# fill makes the container's file system, which is one of its own that can be filled, with a copy of the base and the files for /opt.
fill() {
	mkdir "$root"
	mount -t tmpfs -o size=900m,mode=755 croft-test "$root" || skip 'a tmpfs can not be mounted'
	cp -a "$base/." "$root/"
	cp install.sh "$work"/programs/* "$root/opt/"
}

inside() {
	nsenter --target "$leader" --mount --uts --ipc --net --pid --cgroup -- \
		env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8 DEBIAN_FRONTEND=noninteractive SYSTEMD_COLORS=0 "$@"
}

# shellcheck disable=SC2317 # until_ok calls what is in it
boot() {
	SYSTEMD_NSPAWN_UNIFIED_HIERARCHY=1 systemd-nspawn --quiet --register=no --keep-unit --private-network --boot --console=pipe --directory "$root" </dev/null >>"$work/console" 2>&1 &
	nspawn=$!
	child() { leader=$(cat "/proc/$nspawn/task/$nspawn/children") && leader=${leader%% *} && [[ -n $leader ]]; }
	until_ok 60 child || return 1
	until_ok 120 up
}

# ended: the container is down, by poweroff or for a reboot.
# shellcheck disable=SC2317
ended() {
	gone() { ! kill -0 "$nspawn" 2>/dev/null; }
	until_ok 120 gone || fail 'the container does not end'
	wait "$nspawn" || true
	nspawn='' leader=''
}

### Croft in it

# web METHOD ROUTE [BODY]
web() {
	nsenter --target "$leader" --net -- curl -sS --fail-with-body --max-time 20 -X "$1" "http://127.0.0.1$2" -H "Authorization: Bearer ${token:-}" ${3:+--json "$3"}
}
answers() { until_ok 60 web GET /healthz || fail "$1: Croft does not answer on port 80"; }

# set_up SAID: makes the first admin with the link in that text, and a record.
set_up() {
	local setup
	[[ $1 =~ croft_setup_[A-Za-z0-9_-]+ ]] || fail "there is no set-up link in: $1"
	setup=${BASH_REMATCH[0]}
	token=$(web POST /api/v1/setup '{"token":"'"$setup"'","email":"ada@example.com","password":"lantern-meadow-417"}' | grep -o 'croft_s_[A-Za-z0-9_-]*') || fail 'the set-up link does not work'
	web PUT /api/v1/collections/notes '{"schema":{"type":"object"}}' >/dev/null || fail 'a collection'
	web POST /api/v1/records/notes '{"id":"milk","title":"Buy milk"}' >/dev/null || fail 'a record'
}
data_there() { web GET /api/v1/records/notes/milk | grep -q 'Buy milk' || fail "$1: the record is gone"; }

own_user() {
	local pid user capabilities
	pid=$(pid)
	user=$(inside stat -c %U "/proc/$pid")
	[[ $user == croft ]] || fail "the service runs as $user"
	capabilities=$(inside grep CapBnd "/proc/$pid/status" | cut -f 2)
	[[ $capabilities == 0000000000000400 ]] || fail "the service may have more than CAP_NET_BIND_SERVICE: $capabilities"
	[[ $(inside stat -c '%U %a' /var/lib/croft /var/lib/croft/croft.db | tr '\n' ' ') == 'croft 700 croft 600 ' ]] || fail "the data is open to others: $(inside stat -c '%n %U %a' /var/lib/croft /var/lib/croft/croft.db)"
}

install() { inside sh /opt/install.sh "$@" >"$work/said" 2>&1; }
same() { cmp -s "$root/usr/local/bin/croft" "$root/opt/$1"; }

# refused TEXT COMMAND…: it fails, and says so.
refused() {
	local text=$1
	shift
	if "$@" >"$work/said" 2>&1; then fail "$* was not refused"; fi
	grep -qi -- "$text" "$work/said" || fail "$* does not say \"$text\""
}

### The programs: a newer one, and two that are broken

programs() {
	mkdir "$work/programs" "$work/exits" "$work/hangs"
	local build=(go build -trimpath -buildvcs=false)
	CGO_ENABLED=0 "${build[@]}" -o "$work/programs/croft" .
	CGO_ENABLED=0 "${build[@]}" -ldflags '-X croft/internal/cli.version=99.0.0' -o "$work/programs/newer" .
	broken exits 'os.Exit(1)'
	broken hangs '<-ctx.Done()'
}

# broken NAME STATEMENT: a croft whose serve does that.
broken() {
	sed "s/^\tos.Exit(/\tif len(os.Args) > 1 \&\& os.Args[1] == \"serve\" {\n\t\t$2\n\t}\n&/" main.go >"$work/$1/main.go"
	printf '{"Replace":{"%s":"%s"}}' "$PWD/main.go" "$work/$1/main.go" >"$work/$1/overlay.json"
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-X croft/internal/cli.version=99.0.1' -overlay "$work/$1/overlay.json" -o "$work/programs/$1" .
}
