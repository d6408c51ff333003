//! How the other side is reached and trusted.

use crate::given::{Buffering, Given};
use crate::stop::Stop;
use crate::table::{Forward, Opt, Peer, ROW, Said, Takes};

pub(super) const ROWS: &[Opt] = &[
    Opt {
        long: "old-args",
        no: &["no-old-args"],
        brief: "disable the modern argument-protection idiom",
        doc: "Lets the remote shell split and expand operands, as rsync did before 3.2.4. Given twice, values of \
              options too.",
        set: |given, said| {
            let mut count = given.old_args.unwrap_or(0);
            said.count(&mut count);
            given.old_args = Some(count);
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "secluded-args",
        short: Some(b's'),
        aliases: &["protect-args"],
        no: &["no-secluded-args", "no-protect-args", "no-s"],
        brief: "use the protocol to safely send the arguments",
        doc: "Sends the arguments within the protocol, so that no shell sees them.",
        forward: &[Forward::Letter {
            place: 1,
            to: Peer::Any,
            times: |out| u32::from(out.meant.secluded),
        }],
        refusable: false,
        set: |given, said| {
            given.secluded_args = Some(said.on());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "trust-sender",
        brief: "trust the remote sender's file list",
        doc: "Does not check the names that a sender lists against what was asked of it.",
        set: |given, _| {
            given.trust_sender = true;
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "copy-as",
        takes: Takes::Text("USER[:GROUP]"),
        brief: "specify user & optional group for the copy",
        doc: "Does the work as this user and group. Takes the rights of root.",
        set: |given, said| {
            given.copy_as = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "address",
        takes: Takes::Text("ADDRESS"),
        brief: "bind address for outgoing socket to daemon",
        doc: "The address of our own end of a connection to a daemon.",
        set: |given, said| {
            given.address = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "port",
        takes: Takes::Number("PORT"),
        brief: "specify double-colon alternate port number",
        doc: "The port of a daemon, 873 by default.",
        set: |given, said| {
            given.port = said.number();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "tls",
        no: &["no-tls"],
        doc: "Talks to a daemon over TLS, by default on port 874. The daemon's certificate must be for the host that was named, \
              and be vouched for by one that this system believes. rsync itself has no such option.",
        set: |given, said| {
            given.tls = said.on();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "tls-ca",
        takes: Takes::Text("FILE"),
        doc: "With `--tls`, believes the certificates in this file, in PEM, in place of the system's.",
        set: |given, said| {
            given.tls_ca = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "sockopts",
        takes: Takes::Text("OPTIONS"),
        brief: "specify custom TCP options",
        doc: "Options of the socket to a daemon: a list of `NAME` or `NAME=VALUE`, of `SO_KEEPALIVE`, `SO_REUSEADDR`, \
              `SO_BROADCAST`, `SO_SNDBUF`, `SO_RCVBUF`, `TCP_NODELAY`, `IPTOS_LOWDELAY` and `IPTOS_THROUGHPUT`.",
        set: |given, said| {
            given.sockopts = said.text();
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "blocking-io",
        no: &["no-blocking-io"],
        brief: "use blocking I/O for the remote shell",
        // The shell's output blocks anyhow; only `--no-blocking-io` changes something.
        doc: "Gives the remote shell a standard output that blocks, which is what it has anyhow; `--no-blocking-io` \
              gives it one that does not.",
        set: |given, said| {
            given.blocking_io = Some(said.on());
            Ok(())
        },
        ..ROW
    },
    Opt {
        long: "outbuf",
        takes: Takes::Text("N|L|B"),
        brief: "set out buffering to None, Line, or Block",
        doc: "When output is handed on: `N` at once, `L` at the end of each line, `B` in blocks. By default `L` on a \
              terminal and `B` elsewhere.",
        set: set_outbuf,
        ..ROW
    },
];

fn set_outbuf(given: &mut Given, said: Said<'_>) -> Result<(), Stop> {
    given.outbuf = Some(
        match said
            .text()
            .unwrap_or_default()
            .first()
            .map(u8::to_ascii_uppercase)
        {
            Some(b'N' | b'U') => Buffering::None,
            Some(b'L') => Buffering::Line,
            Some(b'B' | b'F') => Buffering::Block,
            _ => {
                return Err(Stop::option(
                    "Invalid --outbuf setting -- specify N, L, or B.",
                ));
            }
        },
    );
    Ok(())
}
