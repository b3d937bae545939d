#!/bin/sh
# Installs Croft on Linux and macOS, or brings it up to date. Run it with --help.
#
# Nothing of the system is changed before the program is here, its checksum is right and it has run
# once. What changes then is done by the program's own "croft service install", which undoes its
# steps when one fails.
#
# All of it stands in functions that the last line calls: a script cut off on its way does nothing. That line is in
# braces, which have to be closed before the shell does any of it.
set -eu

# The public half of the key that releases are signed with (minisign). Empty: none is known, and
# only --key has signatures checked.
release_key=''

usage() {
	cat <<'END'
Installs Croft as a service of this machine, or brings it up to date. The data is kept.

  sh install.sh [--from ADDRESS | --binary FILE | --build] [OPTIONS]

Where the program comes from:
  --from ADDRESS    a release: the https address, or the folder, that holds SHA256SUMS and the programs
  --binary FILE     a program that is here already
  --build           build it from the source that lies beside this script (needs Go); this is the
                    default there

Options:
  --key KEY         check the release's signature with this minisign public key
  --no-service      only put the program into its folder
  --folder FOLDER   with --no-service: that folder (default /usr/local/bin)
  --dry-run         show every step, and do none
  --version         say which version of Croft that program is, and end
  --help            this text

What stands behind -- is given to "croft service install".
END
}

say() { printf '%s\n' "$*"; }
fail() {
	printf 'install.sh: %s\n' "$1" >&2
	shift
	for line in "$@"; do printf '  %s\n' "$line" >&2; done
	exit 1
}
misuse() {
	printf 'install.sh: %s\nRun it with --help to see how it is used.\n' "$1" >&2
	exit 2
}
there() { command -v "$1" >/dev/null 2>&1; }

# step TEXT: says what comes next. In a dry run it only says so, and fails, for "step … || return 0".
step() {
	if [ "$dry" = 1 ]; then
		say "would $*"
		return 1
	fi
	say "$*"
}

main() {
	from='' binary='' build='' key=$release_key key_given='' service=1 folder=/usr/local/bin folder_given='' dry='' only_version=''
	while [ $# -gt 0 ]; do
		case $1 in
		--from | --binary | --key | --folder)
			if [ $# -lt 2 ] || [ -z "$2" ]; then misuse "$1 needs a value"; fi
			case $1 in
			--from) from=$2 ;;
			--binary) binary=$2 ;;
			--key) key=$2 key_given=1 ;;
			--folder) folder=$2 folder_given=1 ;;
			esac
			shift
			;;
		--build) build=1 ;;
		--no-service) service='' ;;
		--dry-run) dry=1 ;;
		--version) only_version=1 ;;
		-h | --help)
			usage
			exit 0
			;;
		--)
			shift
			break
			;;
		*) misuse "there is no option $1" ;;
		esac
		shift
	done

	sources=0
	for given in "$from" "$binary" "$build"; do
		if [ -n "$given" ]; then sources=$((sources + 1)); fi
	done
	[ "$sources" -le 1 ] || misuse "--from, --binary and --build exclude each other"
	[ -z "$folder_given" ] || [ -z "$service" ] || misuse "--folder goes with --no-service: the service's program is in /usr/local/bin"
	[ -z "$key_given" ] || [ -n "$from" ] || misuse "--key goes with --from: only a release is signed"
	[ $# -eq 0 ] || [ -n "$service" ] || misuse "what stands behind -- is for the service, which --no-service leaves out"

	if [ "$sources" = 0 ]; then
		source=$(checkout)
		[ -n "$source" ] || misuse "say where the program comes from: --from ADDRESS or --binary FILE"
		build=1
	elif [ -n "$build" ]; then
		source=$(checkout)
		[ -n "$source" ] || fail "--build needs Croft's source beside this script, and it is not there"
	fi
	if [ -n "$build" ] && ! there go; then
		fail "there is no Go here to build Croft with" \
			"Get it from https://go.dev/dl, or install a release with --from ADDRESS." \
			"If you have Go and ran this with sudo, run it without: it asks for the password itself."
	fi

	check_place
	temp=$(mktemp -d "${TMPDIR:-/tmp}/croft-install.XXXXXX") || fail "no temporary folder could be made in ${TMPDIR:-/tmp}" "Is that disk full? Set TMPDIR to a folder with room."
	trap 'rm -rf "$temp"' EXIT
	trap 'exit 129' HUP
	trap 'exit 130' INT
	trap 'exit 143' TERM

	if [ -n "$from" ]; then
		download
	elif [ -n "$binary" ]; then
		[ -f "$binary" ] || fail "there is no file $binary"
		copy "$binary" "$temp/croft"
	else
		compile
	fi
	try
	if [ -n "$only_version" ]; then exit 0; fi
	if [ -n "$service" ]; then
		install_service "$@"
	else
		put
	fi
}

# checkout prints the folder of Croft's source if this script lies in it.
checkout() {
	# As "curl … | sh" it lies nowhere: the current folder may be anybody's.
	case $0 in
	install.sh | */install.sh) ;;
	*) return 0 ;;
	esac
	here=$(dirname "$0")
	if [ -f "$here/go.mod" ] && grep -q '^module croft$' "$here/go.mod"; then
		(cd "$here" && pwd)
	fi
}

# check_place refuses, before anything is fetched, what could not be ended.
check_place() {
	as_root=''
	if [ -n "$only_version" ]; then return 0; fi
	if [ -z "$service" ]; then
		[ -d "$folder" ] || fail "there is no folder $folder" "Make it, or name another with --folder."
		if [ ! -w "$folder" ]; then need_root "write into $folder"; fi
		return 0
	fi
	if [ -e /usr/lib/systemd/system/croft.service ] || [ -e /lib/systemd/system/croft.service ]; then
		fail "Croft is installed as a package here" "Bring it up to date with: sudo apt install ./croft_VERSION_CPU.deb"
	fi
	need_root "install a service"
}

# need_root sets as_root to what runs a command as root, if we are not.
need_root() {
	if [ "$(id -u)" = 0 ]; then return 0; fi
	if ! there sudo; then
		fail "only root may $1, and there is no sudo here" "Become root (su -) and run this again, or take --no-service --folder with a folder of your own."
	fi
	as_root=sudo
}

# target prints which of the release's programs is for this machine.
target() {
	system=$(uname -s) cpu=$(uname -m)
	case $system in
	Linux)
		case $cpu in
		x86_64 | amd64) say linux-amd64 ;;
		# Raspberry Pi OS of 32 bits may run on a kernel of 64.
		aarch64 | arm64) if [ "$(bits)" = 32 ]; then say linux-armv7; else say linux-arm64; fi ;;
		armv7* | armv8*) say linux-armv7 ;;
		armv6*) say linux-armv6 ;;
		*) fail "there is no Croft for the CPU $cpu" "There is one for x86_64, aarch64, armv7 and armv6. On others, --build may do." ;;
		esac
		;;
	Darwin)
		case $cpu in
		arm64) say darwin-arm64 ;;
		x86_64) say darwin-amd64 ;;
		*) fail "there is no Croft for the CPU $cpu" ;;
		esac
		;;
	*) fail "there is no Croft for $system that this script can install" "On others, --build may do. For Windows take croft-windows-amd64.exe, and run: croft service install" ;;
	esac
}

# bits prints the width of the programs here: getconf's answer or, without it, the fifth byte of an ELF file (1 is 32 bits).
bits() {
	if there getconf; then
		getconf LONG_BIT
	elif [ "$(dd if=/bin/sh bs=1 skip=4 count=1 2>/dev/null | od -An -tu1 | tr -d ' ')" = 1 ]; then
		say 32
	else
		say 64
	fi
}

# download fetches the program from the release, and compares it with the release's sums.
download() {
	name=croft-$(target)
	from=${from%/}
	case $from in
	https://* | http://*) there curl || there wget || fail "there is neither curl nor wget here to download with" "Install one of them, or download $name by hand and take --binary." ;;
	*://*) fail "$from: only https, http and folders will do" ;;
	*) [ -d "$from" ] || fail "there is no folder $from" "An address begins with https://" ;;
	esac
	if ! there sha256sum && ! there shasum && ! there openssl; then
		fail "there is no sha256sum, shasum or openssl here to check the download with"
	fi
	if [ -n "$key_given" ] && ! there minisign; then
		fail "there is no minisign here to check the signature with" "Install it (sudo apt install minisign), or leave --key out."
	fi
	signed=''
	if [ -n "$key" ]; then
		if there minisign; then signed=1; else say "Note: there is no minisign here, so the release's signature is not checked."; fi
	fi
	case $from in
	http://*) [ -n "$signed" ] || say "Note: over plain http anybody on the way can change what is downloaded. Prefer https, or --key." ;;
	https://*)
		if [ -z "$signed" ] && ! there curl && ! gnu_wget; then
			fail "there is no curl here, and this wget may not check whom it downloads from" \
				"Install curl, or minisign and give the release's key with --key. Nothing was changed."
		fi
		;;
	esac

	step "fetch $from/SHA256SUMS" && fetch SHA256SUMS
	if [ -n "$signed" ]; then
		step "check its signature" && check_signature
	fi
	step "fetch $from/$name" && fetch_program
	step "compare its SHA-256 with the release's" && check_sum
	return 0
}

# gnu_wget: BusyBox's takes any certificate.
gnu_wget() { wget --version 2>/dev/null | grep '^GNU Wget 1\.' >/dev/null; }

# fetch FILE gets one file of the release into the temporary folder.
fetch() {
	case $from in
	https://* | http://*)
		if there curl; then
			# A redirect may not lead from https to http.
			only='=https'
			case $from in http://*) only='=http,https' ;; esac
			curl -fsSL --proto "$only" --retry 2 --connect-timeout 30 -o "$temp/$1" "$from/$1" && return 0
			code=$?
		else
			# Wget can't be told to follow to https alone. With a signature, where a redirect leads doesn't matter.
			only=''
			case $from in https://*) [ -n "$signed" ] || only='--max-redirect=0' ;; esac
			wget -q $only -O "$temp/$1" "$from/$1" && return 0
			code=$?
			if [ -n "$only" ] && [ "$code" = 8 ]; then
				fail "$from/$1 could not be fetched: it is not there, or the server names another address" \
					"Is the address right? From https, redirects are followed with curl only: if there is one, install curl. Nothing was changed."
			fi
		fi
		if { there curl && [ "$code" = 23 ]; } || { ! there curl && [ "$code" = 3 ]; }; then
			fail "$1 could not be written to $temp: is that disk full?" "Make room, or set TMPDIR to a folder with room. Nothing was changed."
		fi
		fail "$from/$1 could not be fetched" "Is the address right, and this machine online? Nothing was changed."
		;;
	*)
		[ -f "$from/$1" ] || fail "$from has no $1" "Is that the folder of a release? Nothing was changed."
		copy "$from/$1" "$temp/$1"
		;;
	esac
}

check_signature() {
	fetch SHA256SUMS.minisig
	minisign -V -q -P "$key" -m "$temp/SHA256SUMS" -x "$temp/SHA256SUMS.minisig" >/dev/null 2>&1 ||
		fail "the signature of $from/SHA256SUMS is not by that key" "Do not use this release. Nothing was changed."
}

fetch_program() {
	wanted=$(awk -v name="$name" '$2 == name || $2 == "*" name { print $1 }' "$temp/SHA256SUMS")
	case $wanted in
	'') fail "the release has no checksum for $name" "Is that the address of a release of Croft? Nothing was changed." ;;
	*[!0-9a-f]*) fail "the release's SHA256SUMS is damaged" "Nothing was changed." ;;
	esac
	[ "${#wanted}" = 64 ] || fail "the release's SHA256SUMS is damaged" "Nothing was changed."
	fetch "$name"
}

check_sum() {
	found=$(sum "$temp/$name")
	if [ "$found" != "$wanted" ]; then
		fail "$name is not what the release says it is: the download is damaged, or somebody changed it" \
			"SHA-256 wanted $wanted" "SHA-256 found  $found" "Nothing was changed. Try again; if it stays so, do not use this release."
	fi
	mv "$temp/$name" "$temp/croft"
}

sum() {
	if there sha256sum; then
		sha256sum <"$1"
	elif there shasum; then
		shasum -a 256 <"$1"
	else
		openssl dgst -sha256 -r <"$1"
	fi | cut -d ' ' -f 1
}

# compile builds the program from the source. A git that distrusts the folder (another user's) is no reason to fail.
compile() {
	step "build Croft from $source" || return 0
	(cd "$source" && CGO_ENABLED=0 go build -trimpath -buildvcs="$(vcs)" -ldflags '-s -w' -o "$temp/croft" .) ||
		fail "Croft could not be built: the lines above say why" "Nothing was changed."
}

vcs() {
	if there git && git status >/dev/null 2>&1; then say true; else say false; fi
}

# copy FROM TO
copy() {
	if [ "$dry" = 1 ]; then return 0; fi
	cp "$1" "$2" || fail "$1 could not be copied to $2" "Is that disk full? Nothing was changed."
}

# try runs the program once. One for another CPU, or half of one, ends here.
try() {
	step "run it once: croft version" || return 0
	chmod 755 "$temp/croft"
	"$temp/croft" version && return 0
	fail "the program does not run on this machine ($(uname -s), $(uname -m))" \
		"Is it for another CPU, or was the download cut off?" \
		"If it said that permission is denied: set TMPDIR to a folder that programs may be run from." \
		"Nothing was changed."
}

install_service() {
	step "install the service: ${as_root:+$as_root }croft service install${*:+ $*}" || return 0
	$as_root "$temp/croft" service install "$@"
}

# put replaces the program in one step, so that there is always a whole one.
put() {
	step "put it into $folder: ${as_root:+$as_root }croft" || return 0
	new=$folder/.croft-install.$$
	if $as_root cp "$temp/croft" "$new" && $as_root chmod 755 "$new" && $as_root mv -f "$new" "$folder/croft"; then
		say "$folder/croft is there. Start it with: croft serve"
		return 0
	fi
	$as_root rm -f "$new"
	fail "croft could not be written into $folder" "Is that disk full? Nothing was changed."
}

{ main "$@"; exit; }
