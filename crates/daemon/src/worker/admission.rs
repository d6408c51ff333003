//! Whether a client may use a module: by its address, by the number of others, by its password (behaviour.md 8.4, 10 to 12).

use transfer::Error;
use wire::{AuthReply, DaemonLine, Digest, REPLY_LINE_MAX};

use super::{Leave, Transport, Worker};
use crate::access::{self, SystemNames};
use crate::auth::{self, Access, Claim, Denial};
use crate::config::Module;
use crate::peer::Peer;
use crate::slots::Slot;

/// A client that has proved to be allowed into a module, or need not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Admitted {
    /// Empty if nobody has asked.
    pub(crate) user: Vec<u8>,
    /// What the user's rule says in place of the module's `read only`.
    pub(crate) read_only: Option<bool>,
}

impl Worker<'_> {
    /// Whether the client may use the module: by its address, by the number of others, by its password.
    pub(super) fn admit(
        &mut self,
        module: &Module,
        digest: Option<Digest>,
    ) -> Result<Admitted, Leave> {
        self.check_host(module)?;
        self.take_place(module)?;
        let users = module.settings.auth_users.expand(&self.env);
        match auth::rules(&users).is_empty() {
            true => Ok(Admitted::default()),
            false => self.authenticate(module, &users, digest),
        }
    }

    fn check_host(&mut self, module: &Module) -> Result<(), Leave> {
        let settings = &module.settings;
        let Peer { name, address } = self.peer.clone();
        let decision = access::decide(
            &settings.hosts_allow.expand(&self.env),
            &settings.hosts_deny.expand(&self.env),
            &self.client(),
            settings.forward_lookup,
            &SystemNames,
        );
        for note in &decision.notes {
            self.journal.warn(note);
        }
        let shown = String::from_utf8_lossy(&module.name).into_owned();
        if !decision.admitted {
            let log = format!("rsync denied on module {shown} from {name} ({address})");
            self.journal.explain(&log, &decision.reason.to_string());
            // Nobody is told of a module that is not for him.
            let text = match settings.list {
                true => format!("access denied to {shown} from {name} ({address})"),
                false => format!("Unknown module '{shown}'"),
            };
            return Err(self.refuse(&text, None));
        }
        if self.transport == Transport::Socket {
            self.journal.note(&format!(
                "rsync allowed access on module {shown} from {name} ({address})"
            ));
        }
        Ok(())
    }

    fn take_place(&mut self, module: &Module) -> Result<(), Leave> {
        let settings = &module.settings;
        let lock_file = settings.lock_file.path(&self.env).unwrap_or_default();
        match Slot::take(&lock_file, settings.max_connections) {
            Ok(slot) => {
                self.slot = Some(slot);
                Ok(())
            }
            Err(none) => Err(self.refuse(&none.client_text(), Some(&none.to_string()))),
        }
    }

    /// Lets the client prove who it is. It does not learn why it is turned away; the log does.
    fn authenticate(
        &mut self,
        module: &Module,
        users: &[u8],
        digest: Option<Digest>,
    ) -> Result<Admitted, Leave> {
        let settings = &module.settings;
        let shown = String::from_utf8_lossy(&module.name).into_owned();
        let Peer { name, address } = self.peer.clone();
        let text = format!("auth failed on module {shown}");
        let log = |who: &str, why: &str| format!("{text} from {name} ({address}){who}: {why}");
        let Some(digest) = digest else {
            let list = Digest::list();
            let text =
                format!("your client does not support one of our daemon-auth checksums: {list}");
            self.refuse(&text, Some(&text));
            return Err(Leave(4));
        };
        if let Err(weak) = auth::check_digest(&settings.auth_digest.expand(&self.env), digest) {
            return Err(self.refuse(&text, Some(&log("", &weak.to_string()))));
        }
        let challenge = self.challenge(digest)?;
        let mut line = Vec::new();
        let _ = DaemonLine::AuthRequired(challenge.as_bytes()).encode(&mut line);
        self.say(&line)?;
        let reply = self.talk.read(|cursor| cursor.line(REPLY_LINE_MAX));
        let reply = match reply.map(|line| AuthReply::parse(&line)) {
            Ok(Some(reply)) => reply,
            Err(error @ Error::Stalled(_)) => return Err(self.lost(&error)),
            Ok(None) | Err(_) => {
                return Err(self.refuse(&text, Some(&log("", "invalid challenge response"))));
            }
        };
        let claim = Claim {
            user: &reply.user,
            response: &reply.response,
            challenge: challenge.as_bytes(),
            digest,
        };
        let secrets = settings.secrets_file.path(&self.env);
        let access = auth::authenticate(
            users,
            secrets.as_deref(),
            settings.strict_modes,
            &claim,
            &auth::system_groups,
        );
        match access {
            Ok(access) => Ok(Admitted {
                user: reply.user,
                read_only: match access {
                    Access::AsModule => None,
                    Access::ReadOnly => Some(true),
                    Access::ReadWrite => Some(false),
                },
            }),
            Err(denial) => {
                if let Denial::UntrustedSecrets(fault) = &denial {
                    self.journal.warn(&fault.to_string());
                }
                let user = format!(" for {}", String::from_utf8_lossy(&reply.user));
                Err(self.refuse(&text, Some(&log(&user, &denial.to_string()))))
            }
        }
    }

    fn challenge(&self, digest: Digest) -> Result<String, Leave> {
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(|error| {
            self.journal.warn(&format!("no random numbers: {error}"));
            Leave(11)
        })?;
        let now = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
        let connection = format!(
            "{} {} {}",
            self.peer.address,
            now.as_micros(),
            std::process::id()
        );
        Ok(digest.challenge(&random, connection.as_bytes()))
    }
}
