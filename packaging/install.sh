#!/bin/sh
# Installs Hardline for the user who runs this, without root, from a folder of the web:
#
#   HARDLINE_URL=https://…/folder sh install.sh
#   sh install.sh --uninstall
#
# The folder is what `cargo xtask dist` fills: archives, and SHA256SUMS beside them.

set -eu

# Where the files are, unless HARDLINE_URL says otherwise. The project has no public address yet; once
# it has one, this is the line to change.
default_url=''

usage() {
    cat <<'END'
Installs Hardline for you alone, into ~/.local, without root.

  sh install.sh               installs, or replaces what it has installed before
  sh install.sh --uninstall   removes what it has installed, and nothing else

  HARDLINE_URL       the folder with SHA256SUMS and the archives (https://…)
  HARDLINE_VERSION   which version, where the folder has several
END
}

fail() {
    echo "install.sh: $1" >&2
    shift
    for line in "$@"; do
        echo "  $line" >&2
    done
    exit 1
}

# Called in the last line, so that half a script does nothing.
main() {
    [ -n "${HOME-}" ] || fail 'HOME is not set, so there is no place to install into'
    bin=$HOME/.local/bin
    # A relative one counts as none, as the XDG base directory specification says.
    case ${XDG_DATA_HOME-} in
        /*) share=$XDG_DATA_HOME ;;
        *) share=$HOME/.local/share ;;
    esac
    # What was installed: files, and folders made for them. Not in the program's own folder of data.
    record=$share/hardline.installed
    case ${1-} in
        '') install_it ;;
        --uninstall) uninstall ;;
        -h | --help) usage ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
}

install_it() {
    url=${HARDLINE_URL:-$default_url}
    [ -n "$url" ] || fail 'Hardline has no public address yet' \
        'say where the files are: HARDLINE_URL=https://… sh install.sh'
    url=${url%/}
    find_target
    find_tools
    scratch=$(mktemp -d) || fail 'no folder for temporary files can be made'
    trap 'rm -rf "$scratch"' EXIT
    trap 'exit 1' HUP INT TERM
    find_archive
    fetch "$archive" "$scratch/archive"
    check_sum "$scratch/archive" "$sum"
    tar -xzf "$scratch/archive" -C "$scratch" || fail "$archive cannot be unpacked"
    unpacked=$scratch/${archive%.tar.gz}
    version=$("$unpacked/hardline" --version 2>&1) || fail "the program does not run here: $version"
    write_plan
    check_places
    put_all
    echo "$version is installed: $bin/hardline"
    tell_path
}

# Rust's name of this system and processor.
find_target() {
    system=$(uname -s)
    processor=$(uname -m)
    case $system in
        Linux) ;;
        Darwin) fail 'there is no program for macOS yet: build it from its source, as README.md says' ;;
        MINGW* | MSYS* | CYGWIN*) fail 'on Windows use install.ps1, in PowerShell' ;;
        *) fail "there is no program for $system" ;;
    esac
    # The programs are static: that for 64-bit ARM also runs where all others have 32 bits.
    case $processor in
        x86_64 | amd64) target=x86_64-unknown-linux-musl ;;
        aarch64 | arm64) target=aarch64-unknown-linux-musl ;;
        armv7* | armv8*) target=armv7-unknown-linux-musleabihf ;;
        *) fail "there is no program for the processor $processor" \
            'there are x86_64, aarch64 and armv7; others build it from its source, as README.md says' ;;
    esac
}

find_tools() {
    for tool in mktemp tar gzip; do
        has "$tool" || fail "$tool is needed, and not there"
    done
    has curl || has wget || fail 'curl or wget is needed, and neither is there'
    has sha256sum || has shasum || has openssl || fail 'sha256sum, shasum or openssl is needed, and none is there'
}

has() {
    command -v "$1" >/dev/null 2>&1
}

# Finds the archive's name and sum in SHA256SUMS.
find_archive() {
    fetch SHA256SUMS "$scratch/sums"
    archive='' sum=''
    while read -r digits name; do
        case $name in
            hardline-*-"$target.tar.gz")
                [ -z "${HARDLINE_VERSION-}" ] || [ "$name" = "hardline-$HARDLINE_VERSION-$target.tar.gz" ] || continue
                [ -z "$archive" ] || fail "$url has several versions: $archive, $name" \
                    'say which one with HARDLINE_VERSION'
                archive=$name sum=$digits
                ;;
        esac
    done <"$scratch/sums"
    # It becomes a path and a part of a URL.
    case $archive in
        '') fail "$url has no archive for $target${HARDLINE_VERSION:+ of version $HARDLINE_VERSION}" ;;
        */*) fail "SHA256SUMS names a file with a slash: $archive" ;;
    esac
}

# fetch NAME FILE
fetch() {
    if has curl; then
        # A secure address stays one when it redirects.
        case $url in
            https:*) only='=https' ;;
            *) only='=http,https' ;;
        esac
        curl --fail --silent --show-error --location --proto "$only" --output "$2" "$url/$1" ||
            fail "$url/$1 cannot be fetched"
    else
        wget -q -O "$2" "$url/$1" || fail "$url/$1 cannot be fetched"
    fi
}

# check_sum FILE SUM
check_sum() {
    if has sha256sum; then
        found=$(sha256sum <"$1")
    elif has shasum; then
        found=$(shasum -a 256 <"$1")
    else
        found=$(openssl dgst -sha256 -r <"$1")
    fi
    [ "${found%% *}" = "$2" ] || fail "$archive is damaged or not the one meant: its sum is wrong" \
        "expected $2" "found    ${found%% *}" 'nothing was installed'
}

# What goes where, a line each: mode|from|to.
write_plan() {
    plan=$scratch/plan
    echo "755|$unpacked/hardline|$bin/hardline" >"$plan"
    for page in "$unpacked"/man/*.1; do
        plan_file "$page" "$share/man/man1/${page##*/}"
    done
    plan_file "$unpacked/completions/hardline.bash" "$share/bash-completion/completions/hardline"
    plan_file "$unpacked/completions/hardline.fish" "$share/fish/vendor_completions.d/hardline.fish"
    plan_file "$unpacked/completions/_hardline" "$share/zsh/site-functions/_hardline"
    plan_file "$unpacked/systemd/user/hardline.service" "$share/systemd/user/hardline.service"
}

# plan_file FROM TO
plan_file() {
    if [ -f "$1" ]; then
        echo "644|$1|$2" >>"$plan"
    fi
}

# Before anything is changed: nobody's file is replaced, and every place can be written.
check_places() {
    while IFS='|' read -r _ _ to; do
        if { [ -e "$to" ] || [ -L "$to" ]; } && ! is_recorded "$to"; then
            fail "$to is there, and was not put there by this script" 'move it away, and run this again'
        fi
        place=${to%/*}
        while [ ! -e "${place:-/}" ]; do
            place=${place%/*}
        done
        [ -d "${place:-/}" ] || fail "$place is no folder" 'nothing was installed'
        [ -w "${place:-/}" ] || fail "you may not write into ${place:-/}" 'nothing was installed'
    done <"$plan"
}

is_recorded() {
    [ -f "$record" ] && grep -qxF "file $1" "$record"
}

# The record is written first: what is interrupted can be undone.
put_all() {
    : >"$scratch/before"
    [ ! -f "$record" ] || cp "$record" "$scratch/before"
    {
        grep '^folder ' "$scratch/before" || :
        missing "$share"
        while IFS='|' read -r _ _ to; do
            missing "${to%/*}"
            echo "file $to"
        done <"$plan"
    } >"$scratch/after"
    write_record "$scratch/before" "$scratch/after"
    while IFS='|' read -r mode from to; do
        mkdir -p "${to%/*}"
        # Moved into its place, since one that runs cannot be written over.
        cp "$from" "$to.new"
        chmod "$mode" "$to.new"
        mv -f "$to.new" "$to"
    done <"$plan"
    # What an older version had and this one has not.
    while read -r kind path; do
        [ "$kind" != file ] || grep -qxF "file $path" "$scratch/after" || rm -f "$path"
    done <"$scratch/before"
    write_record "$scratch/after"
}

# write_record FILE…
write_record() {
    mkdir -p "$share"
    sort -u "$@" >"$record.new"
    mv -f "$record.new" "$record"
}

# Folders that must be made for this one.
missing() {
    folder=$1
    while [ ! -e "${folder:-/}" ]; do
        echo "folder $folder"
        folder=${folder%/*}
    done
}

tell_path() {
    case :$PATH: in
        *:"$bin":*) echo 'Try: hardline share .' ;;
        *)
            echo "$bin is not on your PATH. This line in ~/.profile puts it there, from the next log-in on:"
            echo "  export PATH=\"\$HOME/.local/bin:\$PATH\""
            ;;
    esac
}

uninstall() {
    [ -f "$record" ] || fail "nothing is installed here by this script: $record is not there"
    if [ -L "$HOME/.config/systemd/user/default.target.wants/hardline.service" ]; then
        fail 'hardline starts at your log-in' 'switch that off first: systemctl --user disable --now hardline'
    fi
    while read -r kind path; do
        [ "$kind" != file ] || rm -f "$path" || fail "$path cannot be removed"
    done <"$record"
    # Those inside others first.
    folders=$(sed -n 's/^folder //p' "$record" | sort -r)
    rm -f "$record" || fail "$record cannot be removed"
    echo "$folders" | while read -r path; do
        # Somebody else's files may be in there by now.
        [ ! -d "$path" ] || rmdir "$path" 2>/dev/null || :
    done
    echo 'Hardline is removed.'
    for kept in "${XDG_CONFIG_HOME:-$HOME/.config}/hardline" "$share/hardline"; do
        [ ! -d "$kept" ] || echo "Yours, and left: $kept"
    done
}

main "$@"
