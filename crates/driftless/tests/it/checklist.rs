//! What sersync, the course script and lsyncd fail on, and the test of ours for each: mirror.md 1.7 (entries `1.7.N`) and 6
//! (`6.N`). Each of these tests fails with the behaviour that the entry describes.
//!
//! | entry | what goes wrong elsewhere, or must be | tests |
//! |---|---|---|
//! | 1.7.1 | changes during the first push are lost | `sersync::changes_during_the_first_copy_arrive` |
//! | 1.7.2 | links, pipes, modes, times are not mirrored | `sersync::everything_is_mirrored_with_the_default_switches` |
//! | 1.7.3 | attribute changes delete, and kill the daemon | `sersync::attribute_events_delete_nothing_and_end_nothing` |
//! | 1.7.4 | successes count as failures | `sersync::in_the_background_what_succeeds_does_not_fail` |
//! | 1.7.5 | names are run as code | `sersync::names_are_bytes` |
//! | 1.7.6 | names are taken for patterns | `sersync::names_are_bytes`, `traps::deleted_names_that_look_like_something_else` |
//! | 1.7.7 | the list of failures is everybody's script; secrets in `ps` | `sersync::in_the_background_what_succeeds_does_not_fail`, `checklist::nothing_secret_is_in_a_command_line` |
//! | 1.7.8 | a file restored with an older time never arrives | `sersync::a_file_restored_with_an_older_time_arrives`, `traps::mtime_set_back` |
//! | 1.7.9 | an empty mount point empties the replicas | `brakes::empty_source_at_a_start`, `refusals::source_is_unmounted` |
//! | 1.7.10 | an outage leaves a difference | `failing_daemons::daemon_is_killed_in_the_middle_of_a_burst`, `failing_daemons::daemon_is_not_there_at_first` |
//! | 1.7.11 | overflows and missing watches are ignored | `failing_daemons::kernel_drops_events`, `options::more_directories_than_watches` |
//! | 1.7.12 | deletions overtake creations | `sersync::what_is_removed_at_once_stays_removed`, `changes::delete_and_make_again` |
//! | 1.7.13 | a process and a connection for each event | `bursts::burst_of_10000_small_files`, `checklist::ten_thousand_files_take_a_handful_of_sessions` |
//! | 1.7.14 | one tree, no reload, no status, no orderly end | `configuration::several_trees_with_filters_and_a_reload`, `seeing::a_failure_is_shown_with_its_path_until_it_is_over`, `stopping::while_many_files_are_on_their_way` |
//! | 1.7.15 | filters mean different things at different times | `sersync::filters_hold_at_every_depth_and_on_every_way` |
//! | 1.7.16 | a restart pushes everything | `sersync::a_restart_sends_nothing`, `ledger::only_changes_cross` |
//! | 1.7.17 | without deletions, renames leave the old names | `sersync::without_deletions_nothing_is_deleted` |
//! | 6.1 | no start gap | `sersync::changes_during_the_first_copy_arrive` |
//! | 6.2 | restarts and crashes cost only what changed | `ledger::nothing_changed`, `ledger::only_changes_cross`, `failing_daemons::mirror_is_killed_in_the_middle_of_a_burst` |
//! | 6.3 | few sessions for many files | `checklist::ten_thousand_files_take_a_handful_of_sessions` |
//! | 6.4 | order, and renames without data | `sersync::what_is_removed_at_once_stays_removed`, `bursts::directory_of_1000_files_is_renamed`, `changes::exchange_of_names` |
//! | 6.5 | overflow, watches, unmounting | `failing_daemons::kernel_drops_events`, `options::more_directories_than_watches`, `refusals::source_is_unmounted` |
//! | 6.6 | nothing is deleted on doubt | `brakes::most_of_the_files_vanish_while_no_mirror_runs`, `brakes::source_that_was_made_anew`, `brakes::so_does_one_of_empty_files_and_links`, `verification::trash_keeps_what_is_overwritten_or_deleted` |
//! | 6.7 | retries for ever, each replica by itself; code 23 by path | `failing_daemons::dead_destination_does_not_stop_the_other`, `failing_daemons::full_disk_of_a_daemon`, `failing_daemons::full_disk_of_the_state_file`, `failing_daemons::name_that_the_module_refuses_is_told_and_stops_nothing_else` |
//! | 6.8 | names are bytes | `sersync::names_are_bytes`, `changes::awkward_names` |
//! | 6.9 | no half-written files | `bursts::slow_writer_that_pauses`, `bursts::large_file_changes_while_it_is_sent`, `failing_daemons::worker_is_killed_in_the_middle_of_a_file` |
//! | 6.10 | everything is mirrored | `kinds::hard_links`, `kinds::special_files_as_root`, `kinds::owners_as_root`, `kinds::sparse_files_stay_sparse`, `kinds::dot_files_and_backups`, `kinds::empty_directories`, `kinds::extended_attributes`, `kinds::access_control_lists` |
//! | 6.11 | one filter language everywhere | `options::filters`, `options::filters_that_changed_since_the_last_start` |
//! | 6.12 | an operator sees and commands | `seeing::every_command_says_what_it_has_done_or_why_not`, `seeing::logs_may_be_json`, `configuration::a_reload_that_cannot_start_a_tree_changes_nothing`, `status_page::it_shows_how_everything_is_and_what_has_happened`, `service_manager::the_manager_hears_of_start_reload_life_and_end` |
//! | 6.13 | drift at the replica is found and mended | `verification::drift_is_found_mended_and_told` |
//! | 6.14 | hooks after success, in batches | `configuration::hooks_hear_of_what_has_been_brought_over`, `sersync::plugins::the_refresh_cdn_plugin_asks_for_each_path` |

use crate::bench::{Bench, for_each_destination};

/// The source of each module that the table names.
const MODULES: [(&str, &str); 15] = [
    ("brakes", include_str!("brakes.rs")),
    ("bursts", include_str!("bursts.rs")),
    ("changes", include_str!("changes.rs")),
    ("checklist", include_str!("checklist.rs")),
    ("configuration", include_str!("configuration.rs")),
    ("failing_daemons", include_str!("failing_daemons.rs")),
    ("kinds", include_str!("kinds.rs")),
    ("ledger", include_str!("ledger.rs")),
    ("options", include_str!("options.rs")),
    ("refusals", include_str!("refusals.rs")),
    ("seeing", include_str!("seeing.rs")),
    ("sersync", include_str!("sersync.rs")),
    ("sersync::plugins", include_str!("sersync/plugins.rs")),
    ("status_page", include_str!("status_page.rs")),
    ("traps", include_str!("traps.rs")),
];

/// Modules of which the table names one test each.
const MORE: [(&str, &str); 4] = [
    ("service_manager", include_str!("service_manager.rs")),
    ("sersync::plugins", include_str!("sersync/plugins.rs")),
    ("stopping", include_str!("stopping.rs")),
    ("verification", include_str!("verification.rs")),
];

#[test]
fn every_entry_has_tests_that_exist() {
    let rows: Vec<&str> = include_str!("checklist.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | "))
        .collect();
    for entry in (1..=17)
        .map(|n| format!("1.7.{n}"))
        .chain((1..=14).map(|n| format!("6.{n}")))
    {
        let row = rows
            .iter()
            .find(|row| row.split(" | ").next() == Some(&entry));
        let tests = row
            .and_then(|row| row.split(" | ").nth(2))
            .unwrap_or_else(|| panic!("{entry}"));
        for name in tests.split('`').skip(1).step_by(2) {
            let (module, test) = name.rsplit_once("::").unwrap();
            let known = MODULES
                .iter()
                .chain(&MORE)
                .find(|(known, _)| *known == module);
            let (_, source) = known.unwrap_or_else(|| panic!("{entry}: no module {module}"));
            assert!(
                source.contains(&format!("fn {test}(")),
                "{entry}: no test {name}"
            );
        }
    }
}

/// The password is read from its file, and no program is started that would be told it, or the module's name.
#[test]
fn nothing_secret_is_in_a_command_line() {
    let bench = Bench::with_daemon();
    bench.source.write("file", "content");
    let mirror = bench.live();
    bench.source.many("burst", 5, 20, 10);
    bench.wait_identical(&mirror);
    let process = format!("/proc/{}", mirror.program.pid());
    let command_line = std::fs::read(format!("{process}/cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&command_line).contains("secret"));
    for task in std::fs::read_dir(format!("{process}/task")).unwrap() {
        let children = std::fs::read_to_string(task.unwrap().path().join("children"));
        assert_eq!(children.unwrap_or_default(), "", "it has started programs");
    }
    mirror.stop();
}

for_each_destination! {
    fn ten_thousand_files_take_a_handful_of_sessions(bench: Bench) {
        let mirror = bench.live();
        bench.source.many("burst", 20, 500, 10);
        bench.wait_identical(&mirror);
        let sessions = mirror.said().matches(" updated, ").count();
        // A session an event would be 10,000, and one for each second of a slow machine far fewer than this.
        assert!(sessions < 1000, "{sessions} sessions");
        mirror.stop();
    }
}
