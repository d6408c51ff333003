//! Modules of a stock daemon that refuse options (`refuse options`): what can be done without is, and the rest is told.

use testkit::{Aspects, Times};

use crate::bench::Bench;

/// Large enough for a rename to be worth a session of its own, in bytes.
const WORTH_RENAMING: usize = 300 << 10;

/// A tree with everything that an option is about.
fn bench_with_module_that_refuses(options: &str, aspects: Aspects) -> Bench {
    let refuse =
        |daemon: testkit::DaemonBuilder| daemon.munge_symlinks(false).refuse_options(options);
    let bench = Bench::with_daemon_as(refuse).comparing(aspects);
    bench.source.write("dir/file", "content");
    bench.source.file("large", WORTH_RENAMING);
    bench.source.hard_link("another", "dir/file");
    bench.source.symlink("link", "dir/file");
    bench.source.fifo("fifo");
    bench.source.chmod("dir/file", 0o604);
    bench
}

/// A module that refuses `options`: `told` is said when the mirror meets that and as long as it runs, and the replica agrees in
/// `aspects` after changes of every kind.
#[track_caller]
fn does_without(options: &str, told: &[&str], aspects: Aspects) {
    let bench = bench_with_module_that_refuses(options, aspects);
    let mut mirror = bench.live();
    bench.wait_identical(&mirror);
    // The size stays the same, and with it the second.
    bench.source.write("dir/file", "CONTENT");
    bench.source.rename("large", "renamed");
    bench.source.write("new/deep/file", "more");
    bench.wait_identical(&mirror);
    bench.source.remove("new");
    bench.source.write("dir/file", "changed");
    bench.wait_identical(&mirror);
    for text in told {
        mirror.wait_for(text);
        let (_, status) = bench.command(&["status"]);
        assert!(status.contains(text), "{text}: {status}");
    }
    bench.finish(mirror);
}

#[test]
fn comparing_contents() {
    let told = "contents are not compared here";
    does_without("checksum", &[told], Aspects::exact());
}

#[test]
fn hard_links() {
    let told = "kept as files of their own here";
    does_without("hard-links", &[told], Aspects::exact().without_hard_links());
}

#[test]
fn times_permissions_and_owners() {
    let told = [
        "times are not kept here",
        "permissions are not kept here",
        "owners are not kept here",
        "groups are not kept here",
    ];
    let aspects = Aspects::content();
    does_without("times perms owner group", &told, aspects);
}

#[test]
fn times_to_the_nanosecond() {
    let aspects = Aspects::exact().times(Times::Seconds);
    does_without("modify-window", &[], aspects.without_directory_times());
}

#[test]
fn devices_and_special_files() {
    let told = "devices and special files are not kept here";
    let aspects = Aspects::exact().ignoring(|path| path.ends_with("fifo"));
    // Refused under another name, the letter that we send is still taken.
    does_without("D", &[told], aspects);
}

#[test]
fn symbolic_links() {
    let told = "symbolic links are not kept here";
    let aspects = Aspects::exact().ignoring(|path| path.ends_with("link"));
    does_without("links", &[told], aspects);
}

/// A name that becomes one of a kind which the replica does not keep: what was there before has no place any more.
#[track_caller]
fn goes_where_its_new_kind_is_not_kept(options: &str, make: impl Fn(&Bench, &str)) {
    let names = ["now", "later", "dir", "before", "link", "fifo"];
    let bench = bench_with_module_that_refuses(options, Aspects::content());
    let bench = bench.ignoring(move |path| names.iter().any(|name| path.ends_with(name)));
    make(&bench, "before");
    bench.replica.write("before", "somebody's");
    bench.source.write("now", "content");
    bench.source.write("later", "content");
    let become_another = |name: &str, mirror: &crate::bench::Mirror| {
        bench.source.remove(name);
        make(&bench, name);
        testkit::eventually(crate::bench::SOON, || match bench.replica.exists(name) {
            true => Err(format!("{name} is still there:\n{}", mirror.said())),
            false => Ok(()),
        });
    };
    let mirror = bench.live();
    become_another("now", &mirror);
    become_another("dir", &mirror);
    assert!(!bench.replica.exists("before"), "{}", mirror.said());
    bench.finish(mirror);
    // A mirror that does not know yet what the module refuses.
    bench.source.remove("later");
    make(&bench, "later");
    let mirror = bench.live();
    assert!(!bench.replica.exists("later"), "{}", mirror.said());
    bench.finish(mirror);
}

#[test]
fn what_becomes_a_link_goes_where_links_are_refused() {
    goes_where_its_new_kind_is_not_kept("links", |bench, name| bench.source.symlink(name, "t"));
}

#[test]
fn what_becomes_a_special_file_goes_where_these_are_refused() {
    goes_where_its_new_kind_is_not_kept("D", |bench, name| bench.source.fifo(name));
}

#[test]
fn compressing() {
    let bench = bench_with_module_that_refuses("compress", Aspects::exact());
    let mut mirror = bench.live_with(&["-z"]);
    mirror.wait_for("what is sent here is not compressed");
    bench.source.write("dir/file", "changed");
    bench.finish(mirror);
}

#[test]
fn acknowledging_what_is_stored() {
    // It is only asked for when something fails.
    does_without("remove-source-files", &[], Aspects::exact());
}

#[test]
fn everything_but_what_an_archive_needs() {
    let bench = bench_with_module_that_refuses("* !a !v", Aspects::content());
    let bench = bench.ignoring(|path| path.starts_with("kept"));
    bench.source.write("kept", "content");
    let mut mirror = bench.live();
    mirror.wait_for("does not delete");
    bench.source.remove("kept");
    bench.source.write("dir/file", "CONTENT");
    bench.source.write("new/deep/file", "more");
    bench.finish(mirror);
    assert!(bench.replica.exists("kept"));
}

#[test]
fn what_is_no_longer_refused_is_found_by_a_verification() {
    let bench = bench_with_module_that_refuses("delete hard-links perms", Aspects::content());
    let mut mirror = bench.live();
    for told in ["files of their own here", "permissions are not kept"] {
        mirror.wait_for(told);
    }
    bench.source.write("short-lived", "content");
    bench.wait_identical(&mirror);
    bench.source.remove("short-lived");
    mirror.wait_for("does not delete");
    let (_, status) = bench.command(&["status"]);
    assert!(status.contains("refuse --delete"), "{status}");
    bench.daemon().unset("refuse options");
    let (done, said) = bench.command(&["verify"]);
    assert!(done, "{said}");
    mirror.wait_for("verified: ");
    let bench = bench.comparing(Aspects::exact());
    bench.wait_identical(&mirror);
    let (_, status) = bench.command(&["status"]);
    assert!(!status.contains("refuse"), "{status}");
    bench.finish(mirror);
}

#[test]
fn everything() {
    let bench = bench_with_module_that_refuses("*", Aspects::content());
    let (code, said) = bench.start().wait_exit();
    assert_eq!(code, 4, "{said}");
    assert!(said.contains("configured to refuse --recursive"), "{said}");
    // A mirror that has others to serve goes on, and tells.
    let mut command = bench.options();
    command
        .arg(bench.source.root())
        .args([bench.destination(), bench.path("second").into()]);
    let mut mirror = crate::bench::Mirror::run(&mut command);
    mirror.wait_for("configured to refuse --recursive");
    mirror.wait_for("second: first copy complete");
    let (_, status) = bench.command(&["status"]);
    assert!(
        status.contains("configured to refuse --recursive"),
        "{status}"
    );
    mirror.stop();
}
