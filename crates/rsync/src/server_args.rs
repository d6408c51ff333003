//! The words that start the other side: rsync's options in rsync's order (wire-session.md 2).

use std::fmt::Display;

use wire::Tilde;

use crate::given::{BasisKind, Dirs, Given};
use crate::host::{Access, Route};
use crate::meant::{Meant, NameList};
use crate::table::{self, Forward, WriteWords};

/// The server's words, without its program's name.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServerArgs {
    /// For the command line.
    pub(crate) words: Vec<Vec<u8>>,
    /// For the secluded block, if arguments are secluded (wire-session.md 2.5).
    pub(crate) secluded: Option<Vec<Vec<u8>>>,
}

/// Words of the long options up to this place stay on the command line when the others are secluded.
const LAST_OPEN_PLACE: u8 = 1;

impl ServerArgs {
    /// The words for the server at the other end of `meant`'s route, which leads to another machine. It speaks at most
    /// `protocol`, as far as we know.
    pub(crate) fn new(meant: &Meant, protocol: i32) -> Self {
        let out = Outgoing {
            meant,
            protocol,
            server_sends: meant.route.is_pull(),
        };
        let mut words = Words {
            list: vec![b"--server".to_vec()],
            old_args: meant.old_args,
            splits: true,
        };
        words.word_if(out.server_sends, "--sender");
        let cluster = out.cluster();
        if cluster.len() > 1 {
            words.list.push(cluster);
        }
        out.options(&mut words, |place| place <= LAST_OPEN_PLACE);
        let open = meant.secluded.then(|| std::mem::take(&mut words.list));
        words.splits = !meant.secluded;
        out.options(&mut words, |place| place > LAST_OPEN_PLACE);
        words.word(".");
        out.paths(&mut words);
        match open {
            Some(open) => Self {
                words: open,
                secluded: Some(words.list),
            },
            None => Self {
                words: words.list,
                secluded: None,
            },
        }
    }
}

/// A list of words under construction.
pub struct Words {
    list: Vec<Vec<u8>>,
    old_args: u32,
    /// Something on the way may split words at space.
    splits: bool,
}

impl Words {
    /// A word that needs no quoting.
    pub(crate) fn word(&mut self, word: impl Into<String>) {
        self.list.push(word.into().into_bytes());
    }

    pub(crate) fn word_if(&mut self, wanted: bool, word: &str) {
        if wanted {
            self.word(word);
        }
    }

    /// `--name=` and a value that needs no quoting, if there is one.
    pub(crate) fn plain_if(&mut self, name: &str, value: Option<impl Display>) {
        if let Some(value) = value {
            self.word(format!("{name}{value}"));
        }
    }

    /// `--name=` and a value in one word.
    pub(crate) fn value(&mut self, name: &str, value: &[u8]) {
        let quoted = self.quoted(value, 2);
        self.list.push([name.as_bytes(), &quoted].concat());
    }

    pub(crate) fn value_if(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.value(name, value);
        }
    }

    /// `--name` and a value in two words, so that a shell can expand a tilde.
    pub(crate) fn pair(&mut self, name: &str, value: &[u8]) {
        let quoted = self.quoted(value, 2);
        self.word(name);
        self.list.push(quoted);
    }

    pub(crate) fn pair_if(&mut self, name: &str, value: Option<&[u8]>) {
        if let Some(value) = value {
            self.pair(name, value);
        }
    }

    /// An option of `--remote-option`.
    pub(crate) fn typed(&mut self, option: &[u8]) {
        let quoted = self.quoted(option, 1);
        self.list.push(quoted);
    }

    /// From `trusted` counts of `--old-args` on, the other side gets what was typed.
    fn quoted(&self, value: &[u8], trusted: u32) -> Vec<u8> {
        if self.splits && self.old_args < trusted {
            wire::shell_value(value)
        } else {
            value.to_vec()
        }
    }
}

/// What a server is told, seen from the option table.
pub struct Outgoing<'a> {
    pub(crate) meant: &'a Meant,
    pub(crate) protocol: i32,
    /// The server is the sender: we pull.
    pub(crate) server_sends: bool,
}

impl Outgoing<'_> {
    pub(crate) fn said(&self) -> &Given {
        &self.meant.said
    }

    /// The letters, and the capabilities that follow them from protocol 30 on.
    fn cluster(&self) -> Vec<u8> {
        let mut letters: Vec<(u8, u8, u32)> = Vec::new();
        for row in table::rows() {
            for forward in row.forward {
                if let (Forward::Letter { place, to, times }, Some(letter)) = (forward, row.short)
                    && to.is(self.server_sends)
                {
                    letters.push((*place, letter, times(self)));
                }
            }
        }
        letters.sort_by_key(|&(place, ..)| place);
        let mut cluster = vec![b'-'];
        for (_, letter, times) in letters {
            cluster.extend((0..times).map(|_| letter));
        }
        if self.protocol >= 30 {
            cluster.push(b'e');
            cluster.extend(capabilities(self.meant, self.server_sends));
        }
        cluster
    }

    /// The words of the rows with these places, in order. Rows of one place keep the table's order.
    fn options(&self, words: &mut Words, places: impl Fn(u8) -> bool) {
        let mut writers: Vec<(u8, WriteWords)> = Vec::new();
        for forward in table::rows().flat_map(|row| row.forward) {
            if let Forward::Words { place, to, write } = forward
                && to.is(self.server_sends)
                && places(*place)
            {
                writers.push((*place, *write));
            }
        }
        writers.sort_by_key(|&(place, _)| place);
        for (_, write) in writers {
            write(self, words);
        }
    }

    fn paths(&self, words: &mut Words) {
        let meant = self.meant;
        let trusts = meant.said.trust_sender
            || meant.old_args > 0
            || matches!(meant.files_from, Some(NameList::Remote(_)));
        let (host, paths, tilde) = match &meant.route {
            Route::Local { .. } => return,
            Route::Push {
                host, destination, ..
            } => (host, std::slice::from_ref(destination), Tilde::Expand),
            Route::Pull { host, sources, .. } if trusts => (host, &sources[..], Tilde::Expand),
            Route::Pull { host, sources, .. } => (
                host,
                &sources[..],
                Tilde::Guard {
                    relative: meant.relative,
                },
            ),
        };
        let module = module(&paths[0]);
        for path in paths {
            words.list.push(match host.access {
                Access::Shell if words.splits && meant.old_args == 0 => {
                    wire::shell_path(path, tilde)
                }
                Access::Shell => wire::guard_dash(path),
                Access::Daemon { .. } => wire::daemon_path(path, module, meant.old_args > 0),
            });
        }
    }

    /// `d`: directories without their content, where the server would not come to it by itself.
    pub(crate) fn dirs_letter(&self) -> bool {
        let meant = self.meant;
        match self.said().dirs {
            _ if meant.recursive => false,
            Dirs::Asked => true,
            Dirs::No | Dirs::Old => false,
            Dirs::Auto => meant.dirs && (meant.listing || (meant.deletes && !self.server_sends)),
        }
    }

    /// The format that makes a receiver tell what we print.
    pub(crate) fn log_format(&self) -> Option<&'static str> {
        let format = self.meant.out_format.as_deref()?;
        let has = |escape: &[u8]| format.windows(escape.len()).any(|window| window == escape);
        match self.said().itemize {
            2.. if has(b"%i") => Some("%i%I"),
            _ if has(b"%i") => Some("%i"),
            _ if has(b"%o") => Some("%o"),
            _ => (self.said().verbose == 0).then_some("X"),
        }
    }

    pub(crate) fn basis_dirs(&self, kind: BasisKind, words: &mut Words) {
        if self.said().basis_kind == Some(kind) {
            for dir in &self.said().basis_dirs {
                words.pair(kind.option(), dir);
            }
        }
    }

    /// A list of names that the server reads, or that we send to it (wire-session.md 6.6).
    pub(crate) fn files_from(&self, words: &mut Words) {
        match &self.meant.files_from {
            Some(NameList::Remote(file)) => {
                words.pair("--files-from", file);
                words.word_if(self.said().from0, "--from0");
            }
            Some(NameList::Local(_)) if self.server_sends => {
                words.word("--files-from=-");
                words.word("--from0");
            }
            _ => return,
        }
        words.word_if(!self.meant.relative, "--no-relative");
    }
}

/// What we tell a server that we can do (wire-session.md 2.4).
pub(crate) fn capabilities(meant: &Meant, server_sends: bool) -> Vec<u8> {
    let incremental: &[u8] = if meant.is_incremental(server_sends) {
        b"i"
    } else {
        b""
    };
    [b".", incremental, b"LsfxCIvu"].concat()
}

/// The module at the start of a daemon's path.
pub(crate) fn module(path: &[u8]) -> &[u8] {
    path.split(|&byte| byte == b'/').next().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alias::Aliases;
    use crate::env::Env;
    use crate::parse::{Invocation, parse};

    /// What the installed rsync was heard to say.
    const RECORDED: &str = include_str!("../tests/data/server_args.txt");

    fn args(words: &str) -> ServerArgs {
        let words: Vec<Vec<u8>> = shell_words(words)
            .into_iter()
            .map(String::into_bytes)
            .collect();
        let Ok(Invocation::Transfer(given)) = parse(&words, &Aliases::default()) else {
            panic!("{words:?}")
        };
        let now = jiff::Zoned::now();
        let meant = Meant::new(*given, &Env::default(), &now).expect("legal");
        ServerArgs::new(&meant, meant.protocol)
    }

    /// Splits as a shell does, as far as the data need it.
    fn shell_words(line: &str) -> Vec<String> {
        let (mut words, mut word, mut mark) = (Vec::new(), None::<String>, None);
        for c in line.chars() {
            match (mark, c) {
                (Some(open), c) if c == open => mark = None,
                (None, '\'' | '"') => {
                    mark = Some(c);
                    word.get_or_insert_default();
                }
                (None, ' ') => words.extend(word.take()),
                (_, c) => word.get_or_insert_default().push(c),
            }
        }
        words.extend(word);
        words
    }

    #[test]
    fn servers_are_told_what_rsync_tells_them() {
        let lines: Vec<&str> = RECORDED
            .lines()
            .filter(|line| !line.starts_with('#'))
            .collect();
        let mut differing = String::new();
        for case in lines.chunks(2) {
            let ours: Vec<String> = args(case[0])
                .words
                .iter()
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect();
            let theirs = shell_words(case[1].trim());
            if ours != theirs {
                differing += &format!("{}\n  rsync {theirs:?}\n  ours  {ours:?}\n", case[0]);
            }
        }
        assert!(differing.is_empty(), "{differing}");
        assert!(lines.len() / 2 > 300);
    }

    #[test]
    fn secluded_words_are_as_typed() {
        let args = args("-as --suffix='a b' 'h:/src/ a*' h:/src/ dst/");
        let text = |words: &[Vec<u8>]| {
            words
                .iter()
                .map(|word| String::from_utf8_lossy(word).into_owned())
                .collect()
        };
        let open: Vec<String> = text(&args.words);
        assert_eq!(open, ["--server", "--sender", "-slogDtpre.iLsfxCIvu"]);
        let secluded: Vec<String> = text(&args.secluded.expect("secluded"));
        assert_eq!(secluded, ["--suffix=a b", ".", "/src/ a*", "/src/"]);
    }

    #[test]
    fn daemons_split_at_their_module() {
        let args = args("-a 'rsync://h/plain/x plain/y' d");
        assert_eq!(
            args.words.last().map(Vec::as_slice),
            Some(&b"plain/x[ ]plain/y"[..])
        );
    }
}
