//! Processes as `/proc` shows them (proc(5)), and signals to them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use rustix::io::Errno;
use rustix::process::{kill_process, kill_process_group};

pub use rustix::process::{Pid, Signal};

/// A process group that a test started and that must be gone when the test ends.
///
/// Workers outlive a killed listener, but not as members of its tree: they are handed to init. What
/// they keep is the process group, which is why everything here is found and ended by group.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Group {
    leader: Pid,
}

impl Group {
    /// The group that the process `leader` leads.
    pub(crate) fn of(leader: u32) -> Self {
        Self {
            leader: pid(leader),
        }
    }

    pub(crate) fn leader(self) -> Pid {
        self.leader
    }

    /// All living members. A zombie has ended and only waits for its parent to notice.
    pub(crate) fn members(self) -> Vec<Pid> {
        all()
            .into_iter()
            .filter(|&pid| {
                stat(pid).is_some_and(|stat| {
                    stat.group == self.leader.as_raw_nonzero().get() && stat.is_alive()
                })
            })
            .collect()
    }

    /// Signals every member; a group that has ended is fine.
    pub(crate) fn signal(self, signal: Signal) {
        tolerate_gone(kill_process_group(self.leader, signal));
    }
}

/// The living processes that `pid` has started, and those that these have started in turn.
pub(crate) fn descendants(pid: Pid) -> Vec<Pid> {
    let parents: Vec<(Pid, i32)> = all()
        .into_iter()
        .filter_map(|pid| Some((pid, stat(pid).filter(|stat| stat.is_alive())?.parent)))
        .collect();
    let mut found = vec![pid];
    let mut next = 0;
    while let Some(above) = found.get(next).map(|pid| pid.as_raw_nonzero().get()) {
        let children = parents.iter().filter(|(_, parent)| *parent == above);
        found.extend(children.map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

/// What the process calls itself, without its arguments; empty when it has ended.
pub(crate) fn name(pid: Pid) -> String {
    let text = fs::read_to_string(format!("/proc/{}/comm", pid.as_raw_nonzero()));
    text.unwrap_or_default().trim_end().to_owned()
}

/// Signals one process; one that has ended is fine.
pub(crate) fn signal(pid: Pid, signal: Signal) {
    tolerate_gone(kill_process(pid, signal));
}

/// What tests ask of `/proc/PID/stat`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stat {
    state: u8,
    parent: i32,
    group: i32,
    /// Processor time used so far, in user mode and in the kernel, by all threads.
    pub(crate) cpu_time: Duration,
}

impl Stat {
    fn is_alive(self) -> bool {
        !matches!(self.state, b'Z' | b'X')
    }
}

/// The state of a process, or `None` if there is none of that number.
pub(crate) fn stat(pid: Pid) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    parse_stat(&text)
}

/// Whether `pid` itself listens on TCP port `port` of 127.0.0.1.
///
/// Unlike an attempt to connect this leaves no trace in a daemon's log, takes none of its `max
/// connections`, and cannot be answered by somebody else's listener.
pub(crate) fn listens_on_loopback(pid: Pid, port: u16) -> bool {
    let table = fs::read_to_string("/proc/net/tcp").expect("/proc/net/tcp is readable");
    let Some(inode) = listening_inode(&table, port) else {
        return false;
    };
    let socket = format!("socket:[{inode}]");
    let Ok(descriptors) = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero())) else {
        return false;
    };
    descriptors
        .flatten()
        .filter_map(|entry| fs::read_link(entry.path()).ok())
        .any(|target| target == Path::new(&socket))
}

/// Every process there is.
fn all() -> Vec<Pid> {
    let entries = fs::read_dir("/proc").expect("/proc is readable");
    entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(Pid::from_raw)
        .collect()
}

fn pid(number: u32) -> Pid {
    i32::try_from(number)
        .ok()
        .and_then(Pid::from_raw)
        .expect("a child's process id is positive")
}

#[track_caller]
fn tolerate_gone(result: Result<(), Errno>) {
    match result {
        Ok(()) | Err(Errno::SRCH) => {}
        Err(error) => panic!("cannot signal: {error}"),
    }
}

fn parse_stat(text: &str) -> Option<Stat> {
    // The second field is the program's name in parentheses, and may itself hold both kinds.
    let (_, after_name) = text.rsplit_once(") ")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    // `fields[0]` is field 3 of proc(5): state; then 4 ppid, 5 pgrp, 14 utime and 15 stime in clock ticks.
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(Stat {
        state: *fields.first()?.as_bytes().first()?,
        parent: fields.get(1)?.parse().ok()?,
        group: fields.get(2)?.parse().ok()?,
        cpu_time: Duration::from_millis(ticks * 1000 / rustix::param::clock_ticks_per_second()),
    })
}

/// The inode of the socket that listens on 127.0.0.1:`port`, from the text of `/proc/net/tcp`.
fn listening_inode(table: &str, port: u16) -> Option<&str> {
    const LISTEN: &str = "0A";
    let address = format!("{:08X}:{port:04X}", u32::from_ne_bytes([127, 0, 0, 1]));
    table.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let matches = *fields.get(1)? == address && *fields.get(3)? == LISTEN;
        matches.then(|| fields.get(9).copied()).flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::CommandExt;

    #[test]
    fn stat_of_a_program_with_an_awkward_name() {
        let text = "42 (a) b (c) S 1 40 40 0 -1 0 0 0 0 0 150 50 0 0 20 0 1 0";
        let stat = parse_stat(text).unwrap();
        assert!(stat.is_alive());
        assert_eq!(stat.group, 40);
        let ticks = rustix::param::clock_ticks_per_second();
        assert_eq!(stat.cpu_time, Duration::from_millis(200_000 / ticks));
    }

    #[test]
    fn a_zombie_is_not_alive() {
        let stat = parse_stat("42 (x) Z 1 40 40 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0").unwrap();
        assert!(!stat.is_alive());
    }

    #[test]
    fn children_of_children_are_found_by_name() {
        let mut shell = std::process::Command::new("sh")
            .args(["-c", "sleep 600 & wait"])
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Group::of(shell.id());
        crate::eventually(Duration::from_secs(60), || {
            let below = descendants(group.leader());
            match below
                .iter()
                .map(|&pid| name(pid))
                .collect::<Vec<_>>()
                .as_slice()
            {
                [only] if only == "sleep" => Ok(()),
                others => Err(format!("below the shell: {others:?}")),
            }
        });
        let own = descendants(rustix::process::getpid());
        assert!(own.iter().any(|&pid| name(pid) == "sleep"), "{own:?}");
        group.signal(Signal::KILL);
        shell.wait().unwrap();
        assert_eq!(descendants(group.leader()), []);
    }

    #[test]
    fn own_listener_is_seen_and_a_free_port_is_not() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let own = rustix::process::getpid();
        assert!(listens_on_loopback(own, port));
        assert!(!listens_on_loopback(Pid::INIT, port));
        assert!(!listens_on_loopback(own, 1));
    }
}
