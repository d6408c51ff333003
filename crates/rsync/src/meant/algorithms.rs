//! Which checksums and which compression a command line chooses.

use crate::exit::Exit;
use crate::given::Given;
use crate::stop::Stop;

/// How content is compressed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Compression {
    Off,
    /// What both ends prefer.
    Negotiated,
    /// The same, asked for by a level only: the server concludes it from that.
    ByLevel,
    Zlib,
    Zlibx,
    /// By name, as it was written.
    Named(Vec<u8>),
}

pub(super) fn checksums(said: &Given) -> Result<(Option<Vec<u8>>, wire::ChecksumChoice), Stop> {
    let Some(text) = said.checksum_choice.as_deref() else {
        return Ok((None, wire::ChecksumChoice::default()));
    };
    let unsupported = |text: String| Stop::Refuse(text, Exit::Unsupported);
    let choice =
        wire::ChecksumChoice::parse(text).map_err(|error| unsupported(error.to_string()))?;
    let is_auto = choice == wire::ChecksumChoice::default();
    Ok(((!is_auto).then(|| text.to_vec()), choice))
}

pub(super) fn compression(said: &Given) -> Result<Compression, Stop> {
    let chosen = match &said.compress_choice {
        None => None,
        Some(name) => {
            let unknown =
                |error: wire::NegotiationError| Stop::Refuse(error.to_string(), Exit::Unsupported);
            wire::parse_choice::<wire::Compression>(name)
                .map_err(unknown)?
                .map(|chosen| (chosen, name))
        }
    };
    Ok(match chosen {
        Some((wire::Compression::Zlib, _)) => Compression::Zlib,
        Some((wire::Compression::Zlibx, _)) => Compression::Zlibx,
        Some((_, name)) => Compression::Named(name.clone()),
        None => match said.compress {
            0 if said.compress_level.is_some() => Compression::ByLevel,
            0 => Compression::Off,
            _ if said.compress_choice.is_some() => Compression::Negotiated,
            1 => Compression::Negotiated,
            _ => Compression::Zlibx,
        },
    })
}
