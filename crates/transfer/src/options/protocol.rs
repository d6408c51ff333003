//! What a protocol decides of the options, and what of them it cannot say.

use filter::{Dialect, Side};
use wire::{ClientInfo, Protocol};

use super::{AlternateUse, Append, DeleteWhen, Options};
use crate::Error;
use crate::event::Role;

impl Options {
    /// What the protocol decides where the options leave it open.
    pub(crate) fn settle_defaults(&mut self, protocol: Protocol) {
        if self.append.is_some() && !protocol.has_append_without_verify() {
            self.append = Some(Append::Verified);
        }
        if self.delete == Some(DeleteWhen::Auto) {
            let during = protocol.deletes_during_by_default();
            self.delete = Some(if during {
                DeleteWhen::During
            } else {
                DeleteWhen::Before
            });
        }
    }

    /// Whether a peer of another program understands what is asked for (behaviour.md 1.5). `role` is who finds out.
    ///
    /// # Errors
    /// What it does not.
    pub(crate) fn check_protocol(&self, protocol: Protocol, role: Role) -> Result<(), Error> {
        let asked = [("--acls", self.acls), ("--xattrs", self.xattrs > 0)];
        match asked.into_iter().find(|(_, is_asked)| *is_asked) {
            Some((option, _)) if !protocol.has_acls_and_xattrs() => {
                Err(too_old(option, 30, protocol, role))
            }
            _ => self.check_requests(protocol, role),
        }
    }

    /// Whether the requests of this protocol can say what is asked for, be it between ends of one program.
    ///
    /// # Errors
    /// What they cannot.
    pub(crate) fn check_requests(&self, protocol: Protocol, role: Role) -> Result<(), Error> {
        let alternates = self.alternates.as_ref();
        let option = alternates.map_or("", |alternates| match alternates.use_as {
            AlternateUse::Compare => "--compare-dest",
            AlternateUse::Copy => "--copy-dest",
            AlternateUse::Link => "--link-dest",
        });
        let are_several = alternates.is_some_and(|alternates| alternates.dirs.len() > 1);
        let (knows, prunes) = (protocol.has_item_flags(), protocol.has_prune_empty_dirs());
        let too_much = if self.fuzzy > 0 && !knows {
            "--fuzzy".to_owned()
        } else if alternates.is_some() && self.inplace && !knows {
            format!("{option} with --inplace")
        } else if are_several && !knows {
            format!("Using more than one {option} option")
        } else if self.prune_empty_dirs && !prunes {
            "--prune-empty-dirs".to_owned()
        } else {
            return Ok(());
        };
        Err(too_old(&too_much, 29, protocol, role))
    }

    /// What the client tells its server it can do; `sends` tells whether the client is the sender.
    #[must_use]
    pub fn client_info(&self, sends: bool) -> ClientInfo {
        ClientInfo::own(self.recurses_by_directory(!sends), true)
    }

    /// Whether these options permit lists by directory (behaviour.md 1.12); `receives` is whether they are those of the
    /// receiving side.
    pub(crate) fn recurses_by_directory(&self, receives: bool) -> bool {
        let vetoes = receives
            && (matches!(self.delete, Some(DeleteWhen::Before | DeleteWhen::After))
                || self.delay_updates
                || self.prune_empty_dirs);
        self.recursive && self.inc_recursive && !vetoes
    }

    /// Whether a client that sends tells the receiver its filter rules (wire-session.md 6.1).
    pub(crate) fn tells_receiver_rules(&self, protocol: Protocol) -> bool {
        self.prune_empty_dirs
            || self.delete.is_some() && (!self.delete_excluded || protocol.has_filter_modifiers())
    }

    /// Whether a sender's rules can be expressed for a receiver of this protocol.
    ///
    /// # Errors
    /// [`filter::Error::TooModern`].
    pub(crate) fn check_rules(&self, protocol: Protocol) -> Result<(), Error> {
        let dialect = Dialect::of_protocol(protocol.number().into());
        self.rules.for_wire(Side::Sender, dialect)?;
        Ok(())
    }
}

fn too_old(asked: &str, needed: u8, protocol: Protocol, role: Role) -> Error {
    let number = protocol.number();
    let text = format!("{asked} requires protocol {needed} or higher (negotiated {number}).");
    Error::fatal(2, role, text, None)
}
