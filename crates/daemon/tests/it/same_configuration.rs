//! Configurations mean the same to us as to the installed rsync.

use std::net::IpAddr;

use daemon::access::{self, Client, SystemNames};
use daemon::refuse::RefusedOptions;
use daemon::{Config, Override};
use rsync::Env;
use rsync::table;
use wire::DaemonLine;

use crate::stock::Place;

const GREETING: &[u8] = b"@RSYNCD: 31.0\n";

/// Files that the configurations below include.
const INCLUDED: &[(&str, &str)] = &[
    ("comment.inc", "comment=q\n"),
    ("d/b.conf", "comment=fromb\n[b]\n"),
    ("d/a.conf", "[a]\n"),
    ("d/.h.conf", "comment=hid\n[h]\n"),
    ("d/c.CONF", "[c]\n"),
    ("d/x.inc", "[x]\n"),
    ("unlisted", "list=no\n[q]\n"),
    ("inner", "comment=gg\n[n]\ncomment=inn\n"),
];

/// Each shows something of how files are read.
const CONFIGURATIONS: &[&str] = &[
    "[m]\ncomment = a\n[n]\nlist = no\n",
    "bogus thing = 3\n[m]\nbogus x=1\ncomment = %HOME% %% 100% %home% %HOME %NOPE% %H%HOME% x%%HOME%\n",
    "this is no parameter\n[m]\nread only = perhaps\nuse chroot = maybe\nport = 3\ncomment=x\n",
    "[a] trailing\ncomment=x\n[  n   b\t c ]\nCOMM ent = y  z \n",
    "comm\\\nent = x\n[m]\n",
    "[m\\\nm]\n comment = a\\ \n   b\n",
    "# comment \\\nlist = no\n[m]\n comment = a\r\n[n]\nlist=yes\ncomment=a\rb\n",
    "[m]\n comment = a\\\n# b\n[n]\n",
    "[m]\n comment =\n\n[n]\ncomment = a = b = c\n",
    "[m]\ncomment = \\\n\n[n]\ncomment = a\\\\\nb\n[o]\ncomment = a\\ b\n",
    "[m]\ncomment=a\n[M]\ncomment=b\n[ M ]\nlist=yes\n",
    "x\n [ global ]\ncomment = g\n[m]\n[GLO bal]\ncomment = h\n[n]\n[m]\n",
    "[m]\n[global]\ncomment=g\nlist = no\n[n]\n",
    "[m]\n[global]\ncomment=g\n[n]\nlist=yes\n[global]\ncomment=h\n[o]\n[p]\ncomment=\n",
    "[m]\ncomment = a\x0b\x0c\n[m]]\n[m\\]\ncomment=x\n",
    "[m]\n\\\ncomment = a\n ; no = comment\n",
    "&include @/d\n[m]\n",
    "[m]\n&include @/d\ncomment = z\n",
    "[m]\n&merge @/d/b.conf\ncomment = z\n[n]\n",
    "[m]\n&MERGE = @/comment.inc\n[n]\n&include @/comment.inc\ncomment=z\n[o]\n",
    "[m]\n  &mer\\\nge\t @/comment.inc  \n",
    "&include @/unlisted\n[n]\n&merge @/unlisted\n",
    "[n]\ncomment=a\n&include @/inner\ncomment=b\n[n]\n",
    "[m]\n&include\n[n]\n",
    "[m]\n&merge @/d\n",
    "[m\ncomment=x\n",
    "[]\n",
    "[a/b]\n",
    " = 3\n",
    "&bogus x\n",
    "[m]\n&include @/none\n",
    "[m]\nx",
    "[m]\nread only\rx \r",
    "\\[m]\n\\comment=\\a\nread\ronly = no\n-x=1\n",
    "[m]\n&merge=\n",
    "[m]\n&merge;x\ry z\n",
    "&include\x0bx\n[m]\n&merge",
];

/// What we would tell a client that asks for the list, and log.
fn ours(place: &Place, config: &str) -> (Vec<String>, Vec<String>) {
    let file = place.write("ours.conf", &format!("log file=@/log\n{config}"));
    let env = Env::new(std::env::vars_os());
    match Config::load(&file, &[] as &[Override], &env) {
        Err(failure) => (Vec::new(), failure.log_lines("Receiver")),
        Ok(config) => {
            let mut text = Vec::new();
            for module in config.modules.iter().filter(|module| module.settings.list) {
                let comment = module.settings.comment.expand(&env);
                DaemonLine::encode_module(&module.name, &comment, &mut text).expect("one line");
            }
            let text = String::from_utf8(text).expect("UTF-8");
            let log = config.problems.iter();
            (
                text.lines().map(str::to_owned).collect(),
                log.flat_map(|problem| problem.fault.log_lines("Receiver"))
                    .collect(),
            )
        }
    }
}

#[test]
fn modules_and_complaints() {
    let place = Place::new();
    for (name, text) in INCLUDED {
        place.write(name, text);
    }
    for config in CONFIGURATIONS {
        let said = place.serve(config, "192.0.2.7", &[GREETING, b"#list\n"].concat());
        let theirs = |lines: Vec<String>| -> Vec<String> {
            let is_ours = |line: &String| {
                !line.starts_with("@RSYNCD")
                    && !line.starts_with("rsync error:")
                    && !line.contains("from UNKNOWN (192.0.2.7)")
                    && !line.starts_with("name lookup failed")
            };
            lines.into_iter().filter(is_ours).collect()
        };
        let stock = (theirs(said.client), theirs(said.log));
        assert_eq!(ours(&place, config), stock, "{config}");
    }
}

/// Addresses only: what a resolver says is not the same everywhere.
#[test]
fn the_same_hosts_are_let_in() {
    let place = Place::new();
    let addresses = ["192.0.2.7", "10.1.2.3", "2001:db8::7"];
    for rules in [
        "hosts allow = 192.0.2.7",
        "hosts allow = 192.0.2.0/24, 10.0.0.1",
        "hosts allow = 192.0.2.0/255.255.255.0",
        "hosts deny = 192.0.2.7",
        "hosts deny = 10.0.0.0/8 2001:db8::/32",
        "hosts deny = 2001:db8::/ffff:ffff::",
        "hosts deny = 10.0.3.0/255.0.255.0 10.0.2.0/255.0.255.0",
        "hosts deny = 192.0.2.0/33 192.0.2.7/x 192.0.2.7/",
        "hosts deny = 0.0.0.0/0",
        "hosts deny = ::/0",
        "hosts deny = 0.0.0.0/32",
        "hosts allow = 10.1.2.3\nhosts deny = *",
        "hosts allow = 10.1.2.3\nhosts deny = 192.0.2.7",
        "hosts deny = 10.66051 192.0.519",
        "hosts deny = ,",
    ] {
        let config = format!(
            "reverse lookup = no\nforward lookup = no\n{rules}\n[m]\npath=/\nuse chroot=no\n"
        );
        let file = place.write("ours.conf", &config);
        let env = Env::default();
        let settings = Config::load(&file, &[], &env)
            .expect("legal")
            .modules
            .remove(0)
            .settings;
        for address in addresses {
            let said = place.serve(&config, address, &[GREETING, b"m\n"].concat());
            let is_stock_refused = said
                .client
                .iter()
                .any(|line| line.starts_with("@ERROR: access denied"));
            let client = Client {
                address: address.parse::<IpAddr>().expect("an address"),
                scope: 0,
                name: "UNDETERMINED",
            };
            let decision = access::decide(
                &settings.hosts_allow.expand(&env),
                &settings.hosts_deny.expand(&env),
                &client,
                settings.forward_lookup,
                &SystemNames,
            );
            assert_eq!(!decision.admitted, is_stock_refused, "{rules} {address}");
            let malformed: Vec<&String> = said
                .log
                .iter()
                .filter(|line| line.starts_with("malformed"))
                .collect();
            assert_eq!(
                decision.notes.iter().collect::<Vec<_>>(),
                malformed,
                "{rules} {address}"
            );
        }
    }
}

#[test]
fn the_same_options_are_refused() {
    let place = Place::new();
    for (list, words) in [
        ("delete", "-r --delete"),
        ("delete", "-r --delete-after"),
        ("delete", "--sender --remove-source-files"),
        ("delete-*", "-r --delete"),
        ("delete-*", "-r --delete-after"),
        ("delete-before", "-r --delete"),
        ("c", "-c"),
        ("compress", "-z"),
        ("compress", "--compress-level=3"),
        ("partial", "--inplace"),
        ("inplace", "--append"),
        ("a", "-t"),
        ("a", "-v"),
        ("* !a !v", "-logDtprv"),
        ("* !a", "-v"),
        ("*", "-n"),
        ("*", "--checksum-seed=3"),
        ("no-perms", "--no-perms"),
        ("perms", "--no-perms"),
        ("verb*", "-v"),
        ("!write-devices", "--write-devices"),
        ("bogus", "--write-devices"),
        ("", "--log-file=x"),
    ] {
        let config = format!("[m]\npath=/\nuse chroot=no\nread only=no\nrefuse options={list}\n");
        let words: Vec<&str> = words.split(' ').collect();
        let mut client = [GREETING, b"m\n--server\0"].concat();
        for word in words.iter().chain(&[".", "m/"]) {
            client.extend_from_slice(word.as_bytes());
            client.push(0);
        }
        client.push(0);
        let said = place.serve(&config, "192.0.2.7", &client);
        let refused = "rsync: The server is configured to refuse ";
        let stock = said
            .errors
            .iter()
            .find_map(|line| line.strip_prefix(refused));
        let options = RefusedOptions::new(list.as_bytes(), words.contains(&"--sender"), false);
        let ours = words.iter().find_map(|word| refusal(&options, word));
        assert_eq!(ours.as_deref(), stock, "{list} {words:?}");
    }
}

/// Which option of a word is refused.
fn refusal(options: &RefusedOptions, word: &str) -> Option<String> {
    let Some(long) = word.strip_prefix("--") else {
        let letters = word.bytes().skip(1);
        return letters.into_iter().find_map(|letter| {
            let row = table::rows()
                .find(|row| row.short == Some(letter))
                .expect("known");
            options.refusal(row, row.long)
        });
    };
    let name = long.split('=').next().unwrap_or_default();
    let row = table::rows()
        .find(|row| row.long == name || row.aliases.contains(&name) || row.no.contains(&name))
        .expect("known");
    options.refusal(row, name)
}
