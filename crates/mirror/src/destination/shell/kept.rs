//! The connection that ssh keeps from one session to the next (its `ControlMaster`): only the first one logs in.

mod master;
mod sockets;

use std::ffi::OsString;
use std::time::Duration;

use transfer::{Error, Terms};

use self::master::Master;
use self::sockets::Sockets;
use super::run::run;
use super::{command, lines_of};
use crate::settings::ShellAddress;

/// How long ssh may take for what needs no far end.
const ANSWER: Duration = Duration::from_secs(10);

/// A connection that is kept, or may be.
#[derive(Default)]
pub(super) struct Kept {
    /// Who holds it, or did when it was used last. It goes before the directory that its socket is in.
    master: Option<Master>,
    way: Way,
    notice: Option<String>,
}

/// Whether a connection is kept.
#[derive(Default)]
enum Way {
    /// That has not been found out.
    #[default]
    Unknown,
    /// Not by us: the shell is another program, its user has seen to that already, or it does not work here.
    NotOurs,
    /// It is, and its socket is here.
    Ours(Sockets),
}

impl Kept {
    /// Makes sure that there is a connection. Returns the options that lead a shell through it; none if none is kept.
    ///
    /// # Errors
    /// ssh does not get through to the host, or is not let in; in its words.
    pub(super) fn connect(
        &mut self,
        address: &ShellAddress,
        terms: &Terms,
    ) -> Result<Option<Vec<OsString>>, Error> {
        if let Way::Unknown = self.way {
            self.way = match leaves_it_to_us(address, terms).then(Sockets::claim) {
                Some(Ok(sockets)) => Way::Ours(sockets),
                Some(Err(cause)) => self.give_up(address, &cause.to_string()),
                None => Way::NotOurs,
            };
        }
        let Way::Ours(sockets) = &mut self.way else {
            return Ok(None);
        };
        if !self.master.as_ref().is_some_and(Master::lives) {
            // What one that died leaves behind goes with it.
            self.master = None;
            match Master::start(address, sockets.next(), terms)? {
                Ok(master) => self.master = Some(master),
                Err(reason) => self.way = self.give_up(address, &reason),
            }
        }
        Ok(self.master.as_ref().map(Master::options))
    }

    /// Ends the connection, whatever state it is in. The next session makes another.
    pub(super) fn end(&mut self) {
        self.master = None;
    }

    /// Something that the operator should know, once.
    pub(super) fn notice(&mut self) -> Option<String> {
        self.notice.take()
    }

    fn give_up(&mut self, ShellAddress { host, .. }: &ShellAddress, reason: &str) -> Way {
        let text = format!("the connection to {host} is not kept between sessions: {reason}");
        self.notice = Some(text);
        Way::NotOurs
    }
}

/// Whether the shell is the system's ssh and nothing that it has been told, here or in its configuration, is about
/// keeping connections: a user who has arranged that may have had reasons (a login that only a person can make).
fn leaves_it_to_us(address: &ShellAddress, terms: &Terms) -> bool {
    let program = address.command.first().map(std::path::Path::new);
    if program.and_then(std::path::Path::file_name) != Some("ssh".as_ref()) {
        return false;
    }
    let Ok(mut question) = command(address, &["-G".into()]) else {
        return false;
    };
    let Some(answer) = run(&mut question, Some(ANSWER), &terms.cancel) else {
        return false;
    };
    answer.code == Some(0) && !mentions_control(&lines_of(&answer.output))
}

/// Whether ssh's settings, as `ssh -G` prints them, have it share a connection.
fn mentions_control(settings: &[String]) -> bool {
    settings.iter().any(|line| {
        let (name, value) = line.split_once(' ').unwrap_or((line, ""));
        match name {
            "controlmaster" => value != "false",
            "controlpath" => value != "none",
            _ => false,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_shares_connections_already_is_left_alone() {
        let mentions = |text: &str| mentions_control(&lines_of(text.as_bytes()));
        assert!(!mentions(
            "host h\ncontrolmaster false\ncontrolpersist no\n"
        ));
        assert!(mentions("controlmaster auto\n"));
        assert!(mentions(
            "host h\ncontrolmaster false\ncontrolpath /run/user/1/h\n"
        ));
    }
}
