//! What of a file besides its content is kept.

use crate::given::Super;
use crate::stop::Stop;
use crate::table::{Forward, Opt, Peer, ROW, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "perms",
        short: Some(b'p'),
        no: &["no-perms", "no-p"],
        brief: "preserve permissions",
        doc: "Gives files the permissions they have at the source. Without it new files get those of the source as the \
              umask allows, and existing ones keep theirs.",
        forward: &[Forward::Letter {
            place: 21,
            to: Peer::Any,
            times: |out| u32::from(out.said().perms),
        }],
        set: |given, said| {
            given.perms = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "executability",
        short: Some(b'E'),
        brief: "preserve executability",
        doc: "Keeps whether a regular file is executable, where `--perms` is not in effect.",
        forward: &[Forward::Letter {
            place: 22,
            to: Peer::Receiver,
            times: |out| u32::from(out.said().executability && !out.said().perms),
        }],
        set: |given, _| {
            given.executability = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "chmod",
        takes: Takes::Text("CHMOD"),
        brief: "affect file and/or directory permissions",
        doc: "Changes permissions before they are applied: the symbolic and octal modes of chmod(1), with commas \
              between them. `D` in front of one confines it to directories, `F` to files.",
        set: |given, said| {
            given.chmod.extend(said.text());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "acls",
        short: Some(b'A'),
        no: &["no-acls", "no-A"],
        brief: "preserve ACLs (implies --perms)",
        doc: "Keeps access control lists, those of directories with their defaults. Implies `--perms`.",
        forward: &[Forward::Letter {
            place: 23,
            to: Peer::Any,
            times: |out| u32::from(out.said().acls),
        }],
        set: |given, said| {
            given.acls = said.on();
            given.perms |= said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "xattrs",
        short: Some(b'X'),
        no: &["no-xattrs", "no-X"],
        brief: "preserve extended attributes",
        doc: "Keeps extended attributes: as root all but those of the system, otherwise those of the user namespace. \
              Given twice, rsync's own attributes for `--fake-super` are copied too.",
        forward: &[Forward::Letter {
            place: 24,
            to: Peer::Any,
            times: |out| out.said().xattrs.min(2),
        }],
        set: |given, said| {
            said.count(&mut given.xattrs);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "owner",
        short: Some(b'o'),
        no: &["no-owner", "no-o"],
        brief: "preserve owner (super-user only)",
        doc: "Gives files the owner they have at the source, by name where both sides know it. Takes the rights of \
              root at the destination.",
        forward: &[Forward::Letter {
            place: 16,
            to: Peer::Any,
            times: |out| u32::from(out.meant.owner),
        }],
        set: |given, said| {
            given.owner = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "group",
        short: Some(b'g'),
        no: &["no-group", "no-g"],
        brief: "preserve group",
        doc: "Gives files the group they have at the source, by name where both sides know it. Without the rights of \
              root only your own groups can be set.",
        forward: &[Forward::Letter {
            place: 17,
            to: Peer::Any,
            times: |out| u32::from(out.meant.group),
        }],
        set: |given, said| {
            given.group = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "devices",
        no: &["no-devices"],
        brief: "preserve device files (super-user only)",
        doc: "Makes character and block devices at the destination. Takes the rights of root.",
        set: |given, said| {
            given.devices = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "copy-devices",
        brief: "copy device contents as a regular file",
        doc: "Copies the content of a device as if it were a regular file.",
        forward: &[Forward::Words {
            place: 48,
            to: Peer::Sender,
            write: |out, words| words.word_if(out.said().copy_devices, "--copy-devices"),
        }],
        refusable: false,
        set: |given, _| {
            given.copy_devices = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "write-devices",
        no: &["no-write-devices"],
        brief: "write to devices as files (implies --inplace)",
        doc: "Writes the content of a file into a device at the destination. Implies `--inplace`.",
        forward: &[Forward::Words {
            place: 46,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().write_devices, "--write-devices"),
        }],
        refusable: false,
        set: |given, said| {
            given.write_devices = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "specials",
        no: &["no-specials"],
        brief: "preserve special files",
        doc: "Makes FIFOs and sockets at the destination.",
        forward: &[Forward::Words {
            place: 5,
            to: Peer::Any,
            write: |out, words| match (out.said().devices, out.said().specials) {
                (true, false) => words.word("--no-specials"),
                (false, true) => words.word("--specials"),
                _ => {}
            },
        }],
        set: |given, said| {
            given.specials = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "drop-D",
        no: &["no-drop-D"],
        brief: "receiver refuses to create devices/specials",
        doc: "Never makes devices, FIFOs or sockets at the receiving side, whatever the other options say.",
        set: |given, said| {
            given.drop_devices = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        short: Some(b'D'),
        no: &["no-D"],
        brief: "same as --devices --specials",
        doc: "The same as `--devices --specials`.",
        forward: &[Forward::Letter {
            place: 18,
            to: Peer::Any,
            times: |out| u32::from(out.said().devices),
        }],
        set: |given, said| {
            given.devices = said.on();
            given.specials = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "times",
        short: Some(b't'),
        no: &["no-times", "no-t"],
        brief: "preserve modification times",
        doc: "Gives files the modification time they have at the source. Without it the next run finds every file \
              different and compares contents again.",
        forward: &[Forward::Letter {
            place: 19,
            to: Peer::Any,
            times: |out| u32::from(out.said().times),
        }],
        set: |given, said| {
            given.times = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "atimes",
        short: Some(b'U'),
        no: &["no-atimes", "no-U"],
        brief: "preserve access (use) times",
        doc: "Keeps times of last access. Given twice, it also sets `--open-noatime`.",
        forward: &[Forward::Letter {
            place: 20,
            to: Peer::Any,
            times: |out| out.said().atimes.min(2),
        }],
        set: |given, said| {
            said.count(&mut given.atimes);
            given.open_noatime |= given.atimes > 1;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "open-noatime",
        no: &["no-open-noatime"],
        brief: "avoid changing the atime on opened files",
        doc: "Opens files so that reading them leaves their time of last access alone, where the system permits it.",
        forward: &[Forward::Words {
            place: 50,
            to: Peer::Any,
            write: |out, words| {
                words.word_if(
                    out.said().open_noatime && out.said().atimes <= 1,
                    "--open-noatime",
                );
            },
        }],
        set: |given, said| {
            given.open_noatime = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "crtimes",
        short: Some(b'N'),
        no: &["no-crtimes", "no-N"],
        brief: "preserve create times (newness)",
        doc: "Keeps times of creation. Linux cannot set them, so the option is refused there.",
        set: |given, said| {
            let who = if given.server {
                "The server"
            } else {
                "This rsync"
            };
            let not = if given.server { "" } else { " (-N)" };
            if said.on() {
                Err(Stop::option(format!(
                    "{who} does not support --crtimes{not}"
                )))
            } else {
                Ok(())
            }
        },
        ..ROW
    },
    Opt {
        long: "omit-dir-times",
        short: Some(b'O'),
        no: &["no-omit-dir-times", "no-O"],
        brief: "omit directories from --times",
        doc: "Leaves directories out of `--times`.",
        forward: &[Forward::Letter {
            place: 11,
            to: Peer::Receiver,
            times: |out| u32::from(out.said().omit_dir_times),
        }],
        set: |given, said| {
            given.omit_dir_times = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "omit-link-times",
        short: Some(b'J'),
        no: &["no-omit-link-times", "no-J"],
        brief: "omit symlinks from --times",
        doc: "Leaves symbolic links out of `--times`.",
        forward: &[Forward::Letter {
            place: 12,
            to: Peer::Receiver,
            times: |out| u32::from(out.said().omit_link_times),
        }],
        set: |given, said| {
            given.omit_link_times = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "super",
        no: &["no-super"],
        brief: "receiver attempts super-user activities",
        doc: "Tries what takes the rights of root even without being root, for systems where that works. `--no-super` \
              does not try as root either.",
        forward: &[Forward::Words {
            place: 22,
            to: Peer::Receiver,
            write: |out, words| words.word_if(out.said().rights == Some(Super::Yes), "--super"),
        }],
        set: |given, said| {
            given.rights = Some(if said.on() { Super::Yes } else { Super::No });
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "fake-super",
        brief: "store/recover privileged attrs using xattrs",
        doc: "Keeps owner, group, devices and special permissions in an extended attribute of each file instead of \
              setting them, so that a backup needs no root. Concerns the side it is given to; `-M--fake-super` gives \
              it to the other one.",
        set: |given, _| {
            given.rights = Some(Super::Fake);
            Ok(())
        },
        ..ROW
    },
];
