//! What goes wrong at administrators' again and again: what the client is told, which is little and always the same words, and
//! what our log adds, which is the reason.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use testkit::{DaemonBuilder, RsyncDaemon, is_root, require_rsync, skip};

use super::bench::{daemon, errors, rsync, text, trees};

/// A push by a user with a password, as in every tutorial.
fn push(daemon: &RsyncDaemon, password: &str) -> Output {
    let file = tempfile::tempdir().expect("a directory");
    fs::write(file.path().join("hosts"), "text").expect("a file");
    Command::new(require_rsync())
        .args(["-az", text(&file.path().join("hosts"))])
        .arg(daemon.url(""))
        .env("LC_ALL", "C")
        .env("RSYNC_PASSWORD", password)
        .output()
        .expect("rsync starts")
}

/// The push fails with these words and this code, and the log says why.
fn fails(daemon: &RsyncDaemon, password: &str, code: i32, told: &str, logged: &str) {
    let pushed = push(daemon, password);
    assert_eq!(pushed.status.code(), Some(code), "{}", errors(&pushed));
    assert!(errors(&pushed).contains(told), "{}", errors(&pushed));
    assert!(
        daemon.log().contains(logged),
        "{logged} is not in\n{}",
        daemon.log()
    );
    if !told.contains(logged) {
        assert!(
            !errors(&pushed).contains(logged),
            "the client is told: {logged}"
        );
    }
}

fn backup(module: &Path) -> DaemonBuilder {
    daemon(module).auth_user("rsync_backup", "secret")
}

/// A file of secrets of the test's own, and its parameter.
fn secrets(content: &str, mode: u32) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("rsync.password");
    fs::write(&file, content).expect("a file");
    fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("ours");
    let line = format!("secrets file = {}\n", text(&file));
    (dir, line)
}

#[test]
fn auth_failed_on_module() {
    const TOLD: &str = "@ERROR: auth failed on module m\n";
    let (module, _) = trees();
    let own = backup(module.path()).start();
    fails(
        &own,
        "guess",
        5,
        TOLD,
        "for rsync_backup: password mismatch",
    );
    for (content, mode, reason) in [
        (
            "rsync_backup:secret\n",
            0o644,
            "secrets file must not be other-accessible (see strict modes option)",
        ),
        // The file of the client, which has only the password, where that of the daemon belongs.
        ("secret\n", 0o600, "for rsync_backup: secret not found"),
        (
            "somebody:secret\n",
            0o600,
            "for rsync_backup: secret not found",
        ),
    ] {
        let (_dir, line) = secrets(content, mode);
        // What stands later counts.
        let daemon = backup(module.path()).more(&line).start();
        fails(&daemon, "secret", 5, TOLD, reason);
    }
    let missing = backup(module.path())
        .more("secrets file = /nonexistent/rsync.password\n")
        .start();
    fails(
        &missing,
        "secret",
        5,
        TOLD,
        "for rsync_backup: no secrets file",
    );
    let other_user = backup(module.path())
        .more("auth users = somebody\n")
        .start();
    fails(
        &other_user,
        "secret",
        5,
        TOLD,
        "for rsync_backup: no matching rule",
    );
}

#[test]
fn an_unknown_module_is_told_and_logged() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).start();
    let url = daemon.url("").replace("/m", "/backup");
    let pulled = rsync(&["-r", &url, "/nonexistent/"]);
    assert_eq!(pulled.status.code(), Some(5));
    assert!(
        errors(&pulled).starts_with("@ERROR: Unknown module 'backup'\n"),
        "{}",
        errors(&pulled)
    );
    let told = "unknown module 'backup' tried from localhost (127.0.0.1)";
    assert!(daemon.log().contains(told), "{}", daemon.log());
}

/// A module that is not listed is not admitted to exist; a log of JSON names the rule.
#[test]
fn a_network_that_is_not_allowed() {
    let (module, _) = trees();
    for (allow, deny, reason) in [
        ("192.0.2.0/24", "", "nothing in \\\"hosts allow\\\" matches"),
        (
            "192.0.2.0/24",
            "10.0.0.0/8 127.0.0.0/8",
            "\\\"127.0.0.0/8\\\" in \\\"hosts deny\\\" matches",
        ),
    ] {
        for (list, told) in [
            ("no", "@ERROR: Unknown module 'm'\n"),
            (
                "yes",
                "@ERROR: access denied to m from localhost (127.0.0.1)\n",
            ),
        ] {
            let daemon = daemon(module.path())
                .global("log style", "json")
                .set("list", list)
                .set("hosts allow", allow)
                .set("hosts deny", deny)
                .start();
            fails(&daemon, "", 5, told, reason);
            assert!(
                daemon
                    .log()
                    .contains("rsync denied on module m from localhost (127.0.0.1)")
            );
        }
    }
}

#[test]
fn a_path_that_is_no_directory_is_told_and_logged() {
    let (module, _) = trees();
    let missing = module.path().join("none");
    let file = module.path().join("file");
    fs::write(&file, "").expect("a file");
    for (path, cause) in [
        (&missing, "No such file or directory (2)"),
        (&file, "Not a directory (20)"),
    ] {
        let daemon = daemon(path).start();
        let logged = format!("chdir {} failed: {cause}", text(path));
        fails(&daemon, "", 5, "@ERROR: chdir failed\n", &logged);
    }
}

#[test]
fn an_unknown_user_or_group_is_told_and_logged() {
    let (module, _) = trees();
    for (parameter, what) in [("uid", "uid"), ("gid", "gid")] {
        let daemon = daemon(module.path())
            .set(parameter, "rsyncuserthatisnot")
            .start();
        let told = format!("@ERROR: invalid {what} rsyncuserthatisnot\n");
        let logged = format!("Invalid {what} rsyncuserthatisnot");
        fails(&daemon, "", 5, &told, &logged);
    }
}

#[test]
fn a_write_that_is_not_permitted_is_told_and_logged() {
    if !is_root() {
        return skip("only root can become somebody else");
    }
    let (module, _) = trees();
    fs::set_permissions(module.path(), fs::Permissions::from_mode(0o755)).expect("ours");
    let daemon = daemon(module.path())
        .set("uid", "1")
        .set("gid", "1")
        .start();
    fails(&daemon, "", 23, "mkstemp \".hosts.", "mkstemp \".hosts.");
    let pushed = push(&daemon, "");
    assert!(
        errors(&pushed).contains("(in m) failed: Permission denied (13)\n"),
        "{}",
        errors(&pushed)
    );
    assert!(
        errors(&pushed)
            .contains("some files/attrs were not transferred (see previous errors) (code 23)")
    );
}

#[test]
fn a_module_that_is_only_read() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).read_only().start();
    fails(
        &daemon,
        "",
        1,
        "ERROR: module is read only\n",
        "ERROR: module is read only",
    );
}

#[test]
fn too_many_connections() {
    let (module, _) = trees();
    let daemon = daemon(module.path()).set("max connections", "-1").start();
    fails(
        &daemon,
        "",
        5,
        "@ERROR: max connections (-1) reached -- try again later\n",
        "max connections (-1) reached",
    );
}

#[test]
fn what_our_own_client_is_told() {
    let (module, _) = trees();
    let daemon = backup(module.path()).start();
    let ours = |arguments: &[&str]| {
        Command::new(super::bench::program())
            .args(arguments)
            .env("LC_ALL", "C")
            .env("RSYNC_PASSWORD", "guess")
            .output()
            .expect("it starts")
    };
    let refused = ours(&["-r", &daemon.url("/"), "/nonexistent/x"]);
    assert_eq!(refused.status.code(), Some(5));
    assert!(
        errors(&refused).starts_with("@ERROR: auth failed on module m\n"),
        "{}",
        errors(&refused)
    );
    let slash = ours(&["-r", "127.0.0.1::/backup", "/nonexistent/x"]);
    assert_eq!(slash.status.code(), Some(5));
    let told = "ERROR: The remote path must start with a module name not a /\n";
    assert!(errors(&slash).starts_with(told), "{}", errors(&slash));
    // Nobody listens there.
    let port = daemon.port();
    drop(daemon);
    let gone = ours(&[
        "-r",
        &format!("rsync://127.0.0.1:{port}/m"),
        "/nonexistent/x",
    ]);
    assert_eq!(gone.status.code(), Some(10));
    assert!(
        errors(&gone).contains("Connection refused (111)\n"),
        "{}",
        errors(&gone)
    );
}
