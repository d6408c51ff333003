# Written by `cargo xtask papers`. Change what it is made from, not this file.

_driftless_options() {
    case $1 in
    mirror)
        echo '--once --exclude --include --filter -f --no-delete --password-file --tls --tls-ca --state --settle --timeout --protocol --sessions --max-watches --allow-empty-source --max-delete-share --control --status --status-token --log --verify --verify-rate --trash -z --compress --bandwidth -e --rsh --rsync-path --config --check-config -v --verbose -h --help'
        ;;
    rsync)
        echo '--verbose -v --no-verbose --info --debug --stderr --quiet -q --motd --no-motd --checksum -c --no-checksum --archive -a --recursive -r --no-recursive --inc-recursive --no-inc-recursive --no-i-r --relative -R --no-relative --implied-dirs --no-implied-dirs --no-i-d --backup -b --no-backup --backup-dir --suffix --update -u --inplace --no-inplace --append --no-append --append-verify --dirs -d --no-dirs --old-dirs --mkpath --no-mkpath --links -l --no-links --copy-links -L --copy-unsafe-links --safe-links --insecure-links --no-insecure-links --confine-root --munge-links --no-munge-links --copy-dirlinks -k --keep-dirlinks -K --hard-links -H --no-hard-links --perms -p --no-perms --executability -E --chmod --acls -A --no-acls --xattrs -X --no-xattrs --owner -o --no-owner --group -g --no-group --devices --no-devices --copy-devices --write-devices --no-write-devices --specials --no-specials --drop-D --no-drop-D -D --times -t --no-times --atimes -U --no-atimes --open-noatime --no-open-noatime --crtimes -N --no-crtimes --omit-dir-times -O --no-omit-dir-times --omit-link-times -J --no-omit-link-times --super --no-super --fake-super --sparse -S --no-sparse --preallocate --dry-run -n --whole-file -W --no-whole-file --checksum-choice --one-file-system -x --no-one-file-system --block-size -B --rsh -e --rsync-path --existing --ignore-existing --remove-source-files --del --delete --delete-before --delete-during --delete-delay --delete-after --delete-excluded --ignore-missing-args --delete-missing-args --ignore-errors --no-ignore-errors --force --no-force --max-delete --max-size --min-size --max-alloc --partial --no-partial --partial-dir --delay-updates --no-delay-updates --prune-empty-dirs -m --no-prune-empty-dirs --numeric-ids --no-numeric-ids --usermap --groupmap --chown --timeout --no-timeout --contimeout --no-contimeout --ignore-times -I --size-only --modify-window -@ --temp-dir -T --fuzzy -y --no-fuzzy --compare-dest --copy-dest --link-dest --compress -z --no-compress --compress-choice --compress-level --compress-threads --skip-compress --cvs-exclude -C --filter -f -F --exclude --exclude-from --include --include-from --files-from --from0 -0 --no-from0 --old-args --no-old-args --secluded-args -s --no-secluded-args --no-protect-args --trust-sender --copy-as --address --port --sockopts --blocking-io --no-blocking-io --outbuf --stats --8-bit-output -8 --no-8-bit-output --human-readable -h --no-human-readable --progress --no-progress -P --itemize-changes -i --no-itemize-changes --remote-option -M --out-format --log-file --log-file-format --password-file --early-input --list-only --bwlimit --no-bwlimit --stop-after --stop-at --fsync --write-batch --only-write-batch --read-batch --protocol --iconv --no-iconv --checksum-seed --ipv4 -4 --ipv6 -6 --version -V --help'
        ;;
    inotifywait)
        echo '-h --help --exclude --excludei --include --includei -m --monitor -d --daemon -P --no-dereference -r --recursive --fromfile -o --outfile -s --syslog -q --quiet -qq --format --no-newline --format --timefmt -c --csv -t --timeout -e --event'
        ;;
    inotifywatch)
        echo '-h --help -v --verbose --fromfile --exclude --excludei --include --includei -z --zero -r --recursive -P --no-dereference -t --timeout -e --event -a --ascending -d --descending'
        ;;
    esac
}

# What completes the value of option $2 of command $1.
_driftless_value() {
    case $1:$2 in
    mirror:--exclude)
        :
        ;;
    mirror:--include)
        :
        ;;
    mirror:--filter | mirror:-f)
        :
        ;;
    mirror:--password-file)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    mirror:--tls-ca)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    mirror:--state)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    mirror:--settle)
        :
        ;;
    mirror:--timeout)
        :
        ;;
    mirror:--protocol)
        :
        ;;
    mirror:--sessions)
        :
        ;;
    mirror:--max-watches)
        :
        ;;
    mirror:--max-delete-share)
        :
        ;;
    mirror:--control)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    mirror:--status)
        :
        ;;
    mirror:--status-token)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    mirror:--log)
        :
        ;;
    mirror:--verify-rate)
        :
        ;;
    mirror:--trash)
        COMPREPLY=($(compgen -d -- "$3"))
        ;;
    mirror:--bandwidth)
        :
        ;;
    mirror:-e | mirror:--rsh)
        :
        ;;
    mirror:--rsync-path)
        :
        ;;
    mirror:--config)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--info)
        :
        ;;
    rsync:--debug)
        :
        ;;
    rsync:--stderr)
        COMPREPLY=($(compgen -W 'errors all client' -- "$3"))
        ;;
    rsync:--backup-dir)
        COMPREPLY=($(compgen -d -- "$3"))
        ;;
    rsync:--suffix)
        :
        ;;
    rsync:--confine-root)
        COMPREPLY=($(compgen -d -- "$3"))
        ;;
    rsync:--chmod)
        :
        ;;
    rsync:--checksum-choice)
        COMPREPLY=($(compgen -W 'auto xxh128 xxh3 xxh64 md5 md4 sha1 none' -- "$3"))
        ;;
    rsync:--block-size | rsync:-B)
        :
        ;;
    rsync:--rsh | rsync:-e)
        :
        ;;
    rsync:--rsync-path)
        :
        ;;
    rsync:--max-delete)
        :
        ;;
    rsync:--max-size)
        :
        ;;
    rsync:--min-size)
        :
        ;;
    rsync:--max-alloc)
        :
        ;;
    rsync:--partial-dir)
        COMPREPLY=($(compgen -d -- "$3"))
        ;;
    rsync:--usermap)
        :
        ;;
    rsync:--groupmap)
        :
        ;;
    rsync:--chown)
        :
        ;;
    rsync:--timeout)
        :
        ;;
    rsync:--contimeout)
        :
        ;;
    rsync:--modify-window | rsync:-@)
        :
        ;;
    rsync:--temp-dir | rsync:-T)
        COMPREPLY=($(compgen -d -- "$3"))
        ;;
    rsync:--compare-dest)
        COMPREPLY=($(compgen -d -- "$3"))
        ;;
    rsync:--copy-dest)
        COMPREPLY=($(compgen -d -- "$3"))
        ;;
    rsync:--link-dest)
        COMPREPLY=($(compgen -d -- "$3"))
        ;;
    rsync:--compress-choice)
        COMPREPLY=($(compgen -W 'auto zstd lz4 zlibx zlib none' -- "$3"))
        ;;
    rsync:--compress-level)
        :
        ;;
    rsync:--compress-threads)
        :
        ;;
    rsync:--skip-compress)
        :
        ;;
    rsync:--filter | rsync:-f)
        :
        ;;
    rsync:--exclude)
        :
        ;;
    rsync:--exclude-from)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--include)
        :
        ;;
    rsync:--include-from)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--files-from)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--copy-as)
        :
        ;;
    rsync:--address)
        :
        ;;
    rsync:--port)
        :
        ;;
    rsync:--sockopts)
        :
        ;;
    rsync:--outbuf)
        COMPREPLY=($(compgen -W 'N L B' -- "$3"))
        ;;
    rsync:--remote-option | rsync:-M)
        :
        ;;
    rsync:--out-format)
        :
        ;;
    rsync:--log-file)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--log-file-format)
        :
        ;;
    rsync:--password-file)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--early-input)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--bwlimit)
        :
        ;;
    rsync:--stop-after)
        :
        ;;
    rsync:--stop-at)
        :
        ;;
    rsync:--write-batch)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--only-write-batch)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--read-batch)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    rsync:--protocol)
        :
        ;;
    rsync:--iconv)
        :
        ;;
    rsync:--checksum-seed)
        :
        ;;
    inotifywait:--exclude)
        :
        ;;
    inotifywait:--excludei)
        :
        ;;
    inotifywait:--include)
        :
        ;;
    inotifywait:--includei)
        :
        ;;
    inotifywait:--fromfile)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    inotifywait:-o | inotifywait:--outfile)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    inotifywait:--format)
        :
        ;;
    inotifywait:--format)
        :
        ;;
    inotifywait:--timefmt)
        :
        ;;
    inotifywait:-t | inotifywait:--timeout)
        :
        ;;
    inotifywait:-e | inotifywait:--event)
        :
        ;;
    inotifywatch:--fromfile)
        COMPREPLY=($(compgen -f -- "$3"))
        ;;
    inotifywatch:--exclude)
        :
        ;;
    inotifywatch:--excludei)
        :
        ;;
    inotifywatch:--include)
        :
        ;;
    inotifywatch:--includei)
        :
        ;;
    inotifywatch:-t | inotifywatch:--timeout)
        :
        ;;
    inotifywatch:-e | inotifywatch:--event)
        :
        ;;
    inotifywatch:-a | inotifywatch:--ascending)
        :
        ;;
    inotifywatch:-d | inotifywatch:--descending)
        :
        ;;
    *)
        return 1
        ;;
    esac
}

_driftless() {
    local word=$2 before=$3 command=${COMP_WORDS[1]}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W 'mirror rsync inotifywait inotifywatch --help --version' -- "$word"))
        return
    fi
    # Bash takes `--name=value` apart.
    if [[ $before == '=' ]] && ((COMP_CWORD > 2)); then
        before=${COMP_WORDS[COMP_CWORD - 2]}
    elif [[ $word == '=' ]]; then
        word=
    fi
    _driftless_value "$command" "$before" "$word" && return
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W "$(_driftless_options "$command")" -- "$word"))
    else
        COMPREPLY=($(compgen -f -- "$word"))
    fi
}

complete -o filenames -F _driftless driftless
