//! The names of `--files-from` on their way between the end that has the list and the sender (wire-session.md 6.6).

use wire::{MAX_PATH, Protocol};

use crate::Error;
use crate::options::{FilesFrom, Options};
use crate::session::Session;
use crate::stream::Stream;

/// Whether names travel outside of any frame: old protocols interrupt the frames of that direction for them. `brings`
/// tells whether the end with these options has the list and is not the sender, or lacks it and is.
pub(crate) fn travel_raw(options: &Options, protocol: Protocol, sends: bool) -> bool {
    let travel = match &options.files_from {
        None => false,
        Some(FilesFrom::Names(_)) => !sends,
        Some(FilesFrom::Peer) => sends,
    };
    travel && !protocol.frames_files_from()
}

/// Sends the names, and where they end.
pub(crate) fn send(stream: &mut Stream, session: &Session, names: &[Vec<u8>]) -> Result<(), Error> {
    let was_multiplexing = stream.multiplexes();
    let is_raw = !session.protocol.frames_files_from();
    if is_raw {
        stream.stop_multiplexing()?;
    }
    for name in names.iter().filter(|name| !name.is_empty()) {
        stream.out().extend_from_slice(name);
        stream.out().push(0);
        stream.flush_if_large()?;
    }
    stream.out().push(0);
    stream.flush()?;
    match is_raw && was_multiplexing {
        true => stream.start_multiplexing(),
        false => Ok(()),
    }
}

/// Takes the names. Longer ones than a path may be are cut, as rsync does.
pub(crate) fn receive(stream: &mut Stream, limit: usize) -> Result<Vec<Vec<u8>>, Error> {
    let (mut names, mut name, mut total) = (Vec::new(), Vec::new(), 0);
    loop {
        let is_complete = stream.read(|cursor| {
            let rest = cursor.rest();
            let end = rest.iter().position(|&byte| byte == 0);
            if rest.is_empty() {
                return Err(wire::Stop::Incomplete);
            }
            let piece = cursor.take(end.unwrap_or(rest.len()))?;
            name.extend_from_slice(&piece[..piece.len().min(MAX_PATH - 1 - name.len())]);
            end.map_or(Ok(false), |_| cursor.take(1).map(|_| true))
        })?;
        if !is_complete {
            continue;
        }
        if name.is_empty() {
            return Ok(names);
        }
        total += name.len() + size_of::<Vec<u8>>();
        if total > limit {
            let text = format!("exceeded --max-alloc={limit} setting");
            return Err(Error::fatal(22, crate::Role::Sender, text, None));
        }
        names.push(std::mem::take(&mut name));
    }
}
