//! What two ends agree on before the first file: versions, abilities, checksums and compressors (wire-session.md 3).

use wire::{
    Algorithm, Checksum, ChecksumChoice, ClientInfo, CompatFlags, Compression, EntryFormat,
    ItemFormat, Offer, PeerVersion, Protocol, Side, put_int, put_vstring,
};

use crate::Error;
use crate::charset::Charset;
use crate::event::{Event, Role};
use crate::flist::Entry;
use crate::names;
use crate::options::{Compress, MissingArgs, Options, Recording, RemoveSource};
use crate::report::Reporter;
use crate::stream::Stream;

/// The facts of a session, which both ends know alike.
#[derive(Debug, Clone)]
pub(crate) struct Session {
    pub(crate) protocol: Protocol,
    pub(crate) flags: CompatFlags,
    /// Of blocks and whole files in transfer.
    pub(crate) checksum: Checksum,
    /// Of whole files before it (`--checksum`).
    pub(crate) file_checksum: Checksum,
    pub(crate) compression: Compression,
    pub(crate) level: Option<i32>,
    /// Whether lists were compared for the checksum, and for the compression.
    pub(crate) negotiated: (bool, bool),
    /// That may compress.
    pub(crate) threads: u32,
    /// Of block sums.
    pub(crate) seed: i32,
    /// Of names here, where they are converted.
    pub(crate) charset: Option<Charset>,
    /// Targets of symbolic links are converted, too.
    pub(crate) converts_targets: bool,
}

/// The algorithms of a session, and which of them its ends have found by comparing their lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Algorithms {
    /// Of blocks and files.
    pub checksum: Checksum,
    /// Nobody has chosen it.
    pub is_checksum_negotiated: bool,
    /// Of content, with its level.
    pub compression: Option<(Compression, i32)>,
    /// Nobody has chosen it.
    pub is_compression_negotiated: bool,
}

impl Algorithms {
    /// What a copy on one machine comes to, whose ends have the same lists.
    #[must_use]
    pub fn alone(options: &Options) -> Self {
        let choice = options.checksum_choice;
        let is_open = choice == ChecksumChoice::default();
        let negotiates = options.newest.number() >= 30;
        let sums = &options.checksum_offer;
        let checksum = match is_open && negotiates {
            true => sums.choose(Side::Client, sums.to_text().as_bytes()).ok(),
            false => choice.transfer,
        };
        let compress = options.compress.as_ref();
        let compressors = &options.compress_offer;
        let compression = compress.map(|compress| match compress.choice {
            Some(choice) => choice,
            None if negotiates => compressors
                .choose(Side::Client, compressors.to_text().as_bytes())
                .unwrap_or(Compression::DEFAULT),
            None => Compression::DEFAULT,
        });
        let level = compress.and_then(|compress| compress.level);
        Self {
            checksum: checksum.unwrap_or(Checksum::default_for(options.newest)),
            is_checksum_negotiated: is_open && negotiates,
            compression: compression.and_then(|chosen| Self::leveled(chosen, level)),
            is_compression_negotiated: negotiates
                && compress.is_some_and(|compress| compress.choice.is_none()),
        }
    }

    pub(crate) fn leveled(
        compression: Compression,
        asked: Option<i32>,
    ) -> Option<(Compression, i32)> {
        let is_on = compression != Compression::None;
        is_on.then(|| (compression, level(compression, asked)))
    }
}

/// The level at which a compressor works that was asked for this one.
fn level(compression: Compression, asked: Option<i32>) -> i32 {
    match (compression, asked) {
        (Compression::Zstd, None | Some(0)) => 3,
        (Compression::Zstd, Some(level)) => level.min(22),
        (Compression::Zlib | Compression::Zlibx, None | Some(..0)) => 6,
        (Compression::Zlib | Compression::Zlibx, Some(level)) => level.min(9),
        _ => 0,
    }
}

/// What an end has to say about algorithms.
struct Wishes<'a> {
    checksum: ChecksumChoice,
    checksums: &'a Offer<Checksum>,
    compress: Option<&'a Compress>,
    compressors: &'a Offer<Compression>,
    /// We are one of many sessions of a daemon.
    shares: bool,
    /// What is negotiated is not on file: nothing may differ from what a reader takes for granted.
    is_recorded: bool,
}

impl Session {
    /// The client's half of the handshake, after its arguments have been sent, `-z` among them if it `compresses`. From here
    /// on both directions are multiplexed as the protocol says.
    pub(crate) fn agree(
        stream: &mut Stream,
        protocol: Protocol,
        client: &ClientInfo,
        compresses: bool,
    ) -> Result<Self, Error> {
        let mut options = Options::new(Side::Client);
        options.compress = compresses.then(Compress::default);
        Self::of_client(stream, protocol, client, &options, true)
    }

    /// The client's half, for a transfer with these options. `sends` tells whether the client is the sender.
    pub(crate) fn of_client(
        stream: &mut Stream,
        protocol: Protocol,
        client: &ClientInfo,
        options: &Options,
        sends: bool,
    ) -> Result<Self, Error> {
        let flags = match protocol.has_compat_flags() {
            true => stream.read(CompatFlags::decode)?,
            false => CompatFlags::empty(),
        };
        client
            .accept(flags)
            .map_err(|error| Error::Usage(error.to_string()))?;
        let wishes = Wishes::of(options);
        let agreed = wishes.settle(stream, protocol, flags, Side::Client)?;
        agreed.check_sums(options, sends)?;
        let seed = stream.read(|cursor| cursor.array().map(i32::from_le_bytes))?;
        if !(sends && names::travel_raw(options, protocol, sends)) {
            stream.start_demultiplexing();
        }
        if protocol.multiplexes_client() || !sends && options.remove_source != RemoveSource::No {
            stream.start_multiplexing()?;
        }
        stream.start_counting();
        Ok(Self {
            protocol,
            flags,
            seed,
            charset: Charset::of(options, Role::of_end(sends))?,
            converts_targets: flags.contains(CompatFlags::SYMLINK_ICONV),
            ..agreed
        })
    }

    /// The server's half.
    pub(crate) fn of_server(
        stream: &mut Stream,
        protocol: Protocol,
        client: &ClientInfo,
        options: &Options,
        sends: bool,
    ) -> Result<Self, Error> {
        let mut flags = CompatFlags::empty();
        if protocol.has_compat_flags() {
            let mut offered = CompatFlags::all();
            offered.set(
                CompatFlags::INC_RECURSE,
                options.recurses_by_directory(!sends),
            );
            flags = client.answer(offered);
            flags.encode(client, stream.out());
        }
        let agreed = Wishes::of(options).settle(stream, protocol, flags, Side::Server)?;
        agreed.check_sums(options, sends)?;
        let seed = options
            .checksum_seed
            .filter(|&seed| seed != 0)
            .unwrap_or_else(any_seed);
        put_int(stream.out(), seed);
        stream.flush()?;
        if sends || !names::travel_raw(options, protocol, sends) {
            stream.start_multiplexing()?;
        }
        if protocol.multiplexes_client() || sends && options.remove_source != RemoveSource::No {
            stream.start_demultiplexing();
            if names::travel_raw(options, protocol, sends) {
                stream.demultiplex_reluctantly();
            }
        }
        stream.start_counting();
        Ok(Self {
            protocol,
            flags,
            seed,
            charset: Charset::of(options, Role::of_end(sends))?,
            converts_targets: client.has_symlink_iconv(),
            ..agreed
        })
    }

    /// Only the sender minds files that are to be compared by no sum at all.
    fn check_sums(&self, options: &Options, sends: bool) -> Result<(), Error> {
        if sends && options.checksum && self.file_checksum == Checksum::None {
            let text = "Invalid checksum-choice for --checksum: none (0)";
            return Err(Error::fatal(4, Role::Sender, text, None));
        }
        Ok(())
    }

    /// A text of the peer in our charset, as far as that has the characters.
    pub(crate) fn here(&self, text: Vec<u8>) -> Vec<u8> {
        let converted = self.charset.and_then(|charset| charset.to_local(&text));
        converted.unwrap_or(text)
    }

    /// A text of ours as it travels.
    pub(crate) fn there(&self, text: Vec<u8>) -> Vec<u8> {
        let converted = self.charset.and_then(|charset| charset.to_wire(&text));
        converted.unwrap_or(text)
    }

    pub(crate) fn is_incremental(&self) -> bool {
        self.flags.contains(CompatFlags::INC_RECURSE)
    }

    /// What of an entry travels.
    pub(crate) fn entry_format(&self, options: &Options) -> EntryFormat {
        EntryFormat {
            varint_flags: self.flags.contains(CompatFlags::VARINT_FLIST_FLAGS),
            incremental: self.is_incremental(),
            safe_list_end: self.flags.contains(CompatFlags::SAFE_FLIST)
                || self.protocol.has_safe_list_end(),
            id0_names: self.flags.contains(CompatFlags::ID0_NAMES),
            owner: options.owner,
            group: options.group,
            numeric_ids: options.numeric_ids,
            links: options.links,
            devices: options.devices,
            specials: options.specials,
            hard_links: options.hard_links,
            checksum_length: if options.checksum {
                self.file_checksum.digest_length()
            } else {
                0
            },
            acls: options.acls,
            xattrs: options.xattrs > 0,
            atimes: options.atimes,
            crtimes: options.crtimes,
            relative: options.relative,
            recursive: options.recursive,
            missing_args: options.missing_args == MissingArgs::Delete,
            ..EntryFormat::minimal(self.protocol)
        }
    }

    /// The sum of an entry's content for people to read: that of the list, or else that of the transfer. rsync shows none
    /// that an old protocol implies.
    pub(crate) fn written_sum(&self, entry: &Entry, digest: Option<&[u8]>) -> Option<Vec<u8>> {
        let (kind, sum) = match entry.checksum() {
            [] => (self.checksum, digest?),
            listed => (self.file_checksum, listed),
        };
        (kind != Checksum::ImpliedMd4).then(|| kind.written(sum))
    }

    /// The form of requests and answers.
    pub(crate) fn item_format(&self, options: &Options) -> ItemFormat {
        ItemFormat {
            protocol: self.protocol,
            xattrs: options.xattrs > 0,
            dry_run: options.dry_run && !options.takes_content_anyway(),
            xattr_optimization: !self.flags.contains(CompatFlags::AVOID_XATTR_OPTIM),
        }
    }

    /// Leaves the peer over an error: those who listen hear of it first, then the peer.
    pub(crate) fn part(&self, stream: &mut Stream, error: Error, report: &Reporter<'_>) -> Error {
        report.event(Event::Failed(&error));
        if let Some(cause) = stream.say_farewell(self.protocol, &error) {
            report.event(Event::Unheard(&cause));
        }
        error
    }
}

impl Role {
    /// That of an end before any list.
    pub(crate) fn of_end(sends: bool) -> Self {
        if sends {
            Self::Sender
        } else {
            Self::ReceivingSide
        }
    }
}

/// Exchanges versions with a server that was started by a remote shell, or with its client.
pub(crate) fn exchange_versions(
    stream: &mut Stream,
    newest: Protocol,
    client_sub: i32,
    we: Role,
) -> Result<Protocol, Error> {
    put_int(stream.out(), i32::from(newest.number()));
    stream.flush().map_err(|error| match error {
        Error::Socket(cause) => unwelcome(cause, we),
        error => error,
    })?;
    let number = stream.read(|cursor| cursor.array().map(i32::from_le_bytes))?;
    newest
        .agree(PeerVersion {
            number,
            sub: client_sub,
        })
        .map_err(|error| Error::fatal(2, we, error.to_string(), None))
}

/// A remote shell that has ended already takes not even our first bytes.
fn unwelcome(cause: std::io::Error, we: Role) -> Error {
    let text = "safe_write failed to write 4 bytes to socket";
    Error::fatal(12, we, text, Some(cause))
}

impl<'a> Wishes<'a> {
    fn of(options: &'a Options) -> Self {
        Self {
            checksum: options.checksum_choice,
            checksums: &options.checksum_offer,
            compress: options.compress.as_ref(),
            compressors: &options.compress_offer,
            shares: options.module.is_some(),
            is_recorded: matches!(
                options.batch,
                Some(Recording::Write(_) | Recording::OnlyWrite(_))
            ),
        }
    }

    /// Settles on algorithms.
    fn settle(
        &self,
        stream: &mut Stream,
        protocol: Protocol,
        flags: CompatFlags,
        side: Side,
    ) -> Result<Session, Error> {
        let negotiates = flags.contains(CompatFlags::VARINT_FLIST_FLAGS);
        let only = (
            Offer::only(Checksum::Md5),
            Offer::only(Compression::DEFAULT),
        );
        let (checksums, compressors) = match self.is_recorded && negotiates {
            true => (&only.0, &only.1),
            false => (self.checksums, self.compressors),
        };
        let has_choice = self.checksum.transfer.is_some() || self.checksum.file.is_some();
        let open_compressor = self.compress.filter(|compress| compress.choice.is_none());
        let asks = (
            negotiates && !has_choice,
            negotiates && open_compressor.is_some(),
        );
        let negotiated = negotiate(stream, side, asks, (checksums, compressors))?;
        let default = Checksum::default_for(protocol);
        let (checksum, file_checksum) = match (negotiated.0, has_choice) {
            (_, true) => (
                self.checksum.transfer.unwrap_or(default),
                self.checksum.file.unwrap_or(default),
            ),
            (Some(chosen), false) => (chosen, chosen),
            (None, false) => {
                let chosen = checksums.accept_default(side, default);
                let chosen = chosen.map_err(|error| no_common(&error, side))?;
                (chosen, chosen)
            }
        };
        let mut compression = match self.compress {
            None => Compression::None,
            Some(Compress {
                choice: Some(choice),
                ..
            }) => *choice,
            Some(_) => match negotiated.1 {
                Some(chosen) => chosen,
                None => compressors
                    .accept_default(side, Compression::DEFAULT)
                    .map_err(|error| no_common(&error, side))?,
            },
        };
        let level = self.compress.and_then(|compress| compress.level);
        if level == Some(0) && matches!(compression, Compression::Zlib | Compression::Zlibx) {
            compression = Compression::None;
        }
        Ok(Session {
            protocol,
            flags,
            checksum,
            file_checksum,
            compression,
            level,
            negotiated: (negotiated.0.is_some(), negotiated.1.is_some()),
            threads: self.threads(compression),
            seed: 0,
            charset: None,
            converts_targets: false,
        })
    }

    /// How many threads compress.
    fn threads(&self, compression: Compression) -> u32 {
        let asked = self.compress.map_or(0, |compress| compress.threads);
        match asked {
            0 if self.shares || compression != Compression::Zstd => 1,
            0 => std::thread::available_parallelism().map_or(1, |count| count.get().min(4)) as u32,
            asked => asked,
        }
    }
}

/// Exchanges the lists of checksums and of compressors, as far as it `asks` for them. The client hears the server's
/// before it says its own.
fn negotiate(
    stream: &mut Stream,
    side: Side,
    asks: (bool, bool),
    (checksums, compressors): (&Offer<Checksum>, &Offer<Compression>),
) -> Result<(Option<Checksum>, Option<Compression>), Error> {
    let say = |stream: &mut Stream, checksums: &Offer<_>, compressors: &Offer<_>| {
        if asks.0 {
            put_vstring(
                stream.out(),
                Offer::<Checksum>::to_text(checksums).as_bytes(),
            );
        }
        if asks.1 {
            put_vstring(
                stream.out(),
                Offer::<Compression>::to_text(compressors).as_bytes(),
            );
        }
        stream.flush()
    };
    if side == Side::Server {
        say(stream, checksums, compressors)?;
    }
    let theirs = (
        heard::<Checksum>(stream, asks.0)?,
        heard::<Compression>(stream, asks.1)?,
    );
    if side == Side::Client {
        let order = |list: &Option<Vec<u8>>| list.clone().unwrap_or_default();
        let checksums = checksums.clone().in_order_of(&order(&theirs.0));
        let compressors = compressors.clone().in_order_of(&order(&theirs.1));
        say(stream, &checksums, &compressors)?;
        return choose(&checksums, &compressors, side, theirs);
    }
    choose(checksums, compressors, side, theirs)
}

/// What both ends arrive at, as far as there are lists of the peer.
fn choose(
    checksums: &Offer<Checksum>,
    compressors: &Offer<Compression>,
    side: Side,
    theirs: (Option<Vec<u8>>, Option<Vec<u8>>),
) -> Result<(Option<Checksum>, Option<Compression>), Error> {
    let checksum = theirs.0.map(|list| checksums.choose(side, &list));
    let compressor = theirs.1.map(|list| compressors.choose(side, &list));
    Ok((
        checksum
            .transpose()
            .map_err(|error| no_common(&error, side))?,
        compressor
            .transpose()
            .map_err(|error| no_common(&error, side))?,
    ))
}

/// The peer's list of names, if one is exchanged.
fn heard<A: Algorithm>(stream: &mut Stream, asks: bool) -> Result<Option<Vec<u8>>, Error> {
    let list =
        |cursor: &mut wire::Cursor<'_>| cursor.vstring(Offer::<A>::LENGTH_MAX).map(<[u8]>::to_vec);
    asks.then(|| stream.read(list)).transpose()
}

/// A client says what there is; its server leaves it at that.
fn no_common(error: &wire::NegotiationError, side: Side) -> Error {
    match side {
        Side::Client => Error::NoCommon(error.to_string()),
        Side::Server => Error::fatal(wire::NegotiationError::EXIT_CODE, Role::Sender, "", None),
    }
}

/// A seed that differs from run to run, so that nobody can prepare files whose blocks collide.
fn any_seed() -> i32 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let seed = RandomState::new().build_hasher().finish();
    (seed as i32) | 1
}
