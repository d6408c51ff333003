//! What two ends agree on before the first file: the handshake of a client (wire-session.md 3).

use wire::{Checksum, ClientInfo, CompatFlags, Offer, Protocol, Side, put_vstring};

use crate::Error;
use crate::stream::Stream;

/// The facts of a session, which both ends know alike.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) protocol: Protocol,
    pub(crate) flags: CompatFlags,
    /// Of blocks and whole files in transfer.
    pub(crate) checksum: Checksum,
    /// Of block sums.
    pub(crate) seed: i32,
}

impl Session {
    /// The client's half of the handshake, after its arguments have been sent. From here on both directions are
    /// multiplexed as the protocol says.
    pub(crate) fn agree(stream: &mut Stream, protocol: Protocol, client: &ClientInfo) -> Result<Self, Error> {
        let flags = match protocol.has_compat_flags() {
            true => stream.read(CompatFlags::decode)?,
            false => CompatFlags::empty(),
        };
        client.accept(flags).map_err(|error| Error::Forbidden(error.to_string()))?;
        let checksum = match flags.contains(CompatFlags::VARINT_FLIST_FLAGS) {
            true => {
                let offer = Offer::<Checksum>::all(Side::Client);
                put_vstring(stream.out(), offer.to_text().as_bytes());
                let theirs = stream.read(|cursor| cursor.vstring(Offer::<Checksum>::LENGTH_MAX).map(<[u8]>::to_vec))?;
                offer.choose(Side::Client, &theirs).map_err(|error| Error::NoCommon(error.to_string()))?
            }
            false => Checksum::default_for(protocol),
        };
        let seed = stream.read(|cursor| cursor.int())?;
        stream.start_demultiplexing();
        if protocol.multiplexes_client() {
            stream.start_multiplexing()?;
        }
        Ok(Self { protocol, flags, checksum, seed })
    }
}
