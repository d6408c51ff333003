//! The filter rules of a command line, in the order of its options and of what other options add (behaviour.md 5).

use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;

use filter::{Cvs, MergeFile, NoMergeFiles, Rules};

use crate::env::Env;
use crate::exit::Exit;
use crate::given::{Dirs, RuleSource};
use crate::host::Route;
use crate::meant::Meant;
use crate::named_file::NamedFiles;
use crate::output::strerror;
use crate::stop::{Stop, shown};

/// Reads the rules, and the files they name.
///
/// # Errors
/// rsync's words for rules that are none (code 1), and for files that cannot be read (code 11).
pub(crate) fn build(meant: &Meant, env: &Env) -> Result<Rules, Stop> {
    let said = &meant.said;
    let files = NamedFiles::of(said);
    let mut rules = Rules::new(filter::Options {
        delete_excluded: said.delete_excluded,
        cvs_file: if said.cvs_exclude {
            home_cvsignore(env)
        } else {
            Vec::new()
        },
        cvs_environment: env.get("CVSIGNORE").unwrap_or_default().to_vec(),
        ..filter::Options::default()
    });
    for option in &said.rules {
        rules.set_from0(option.from0);
        let lines = Lines {
            files: &files,
            end_in_nul: option.from0,
        };
        match &option.source {
            RuleSource::Filter(rule) => {
                rules.filter(rule, &mut |file: MergeFile<'_>| lines.read_named(file))
            }
            RuleSource::Exclude(pattern) => rules.exclude(pattern),
            RuleSource::Include(pattern) => rules.include(pattern),
            RuleSource::ExcludeFrom(file) => {
                rules.exclude_from(&lines.patterns(file, "exclude")?, &shown(file))
            }
            RuleSource::IncludeFrom(file) => {
                rules.include_from(&lines.patterns(file, "include")?, &shown(file))
            }
        }
        .map_err(|error| stop(&error))?;
    }
    rules.set_from0(said.from0);
    let mut add = |rule: &[u8]| {
        rules
            .filter(rule, &mut NoMergeFiles)
            .map_err(|error| stop(&error))
    };
    if said.dirs == Dirs::Old {
        add(b"- /*/*")?;
    }
    if meant.backup
        && meant.deletes
        && !said.delete_excluded
        && meant.backup_dir.is_none()
        && !said.server
    {
        add(&[b"P *", &meant.suffix[..]].concat())?;
    }
    if said.cvs_exclude {
        let whose = match (said.server, &meant.route) {
            (true, _) => Cvs::AfterThePeers,
            (false, Route::Pull { .. }) => Cvs::OfBothSides,
            (false, _) => Cvs::AsOthers,
        };
        rules.cvs_exclude(whose).map_err(|error| stop(&error))?;
    }
    if let Some(dir) = meant
        .partial_dir
        .as_deref()
        .filter(|dir| !dir.starts_with(b"/"))
    {
        rules.partial_dir(dir);
    }
    Ok(rules)
}

/// The files of an option, whose lines end as `--from0` said where the option stood.
#[derive(Clone, Copy)]
struct Lines<'a> {
    files: &'a NamedFiles,
    end_in_nul: bool,
}

impl Lines<'_> {
    fn read(self, name: &[u8]) -> io::Result<Vec<u8>> {
        let mut text = self.files.read(name)?;
        if !self.end_in_nul {
            let is_end = |byte| byte == b'\n' || byte == b'\r';
            // What follows a NUL in a line is not read.
            let mut is_cut = false;
            text.retain(|&byte| {
                is_cut = (is_cut || byte == 0) && !is_end(byte);
                !is_cut
            });
        }
        Ok(text)
    }

    /// The files of arguments are read here; those of directories are the engine's to read.
    fn read_named(self, file: MergeFile<'_>) -> io::Result<Option<Vec<u8>>> {
        match file {
            MergeFile::Named(name) => self.read(name).map(Some),
            MergeFile::InTree(_) | MergeFile::Above(_) => Ok(None),
        }
    }

    /// The patterns of a file; no name is no file.
    fn patterns(self, file: &[u8], kind: &str) -> Result<Vec<u8>, Stop> {
        if file.is_empty() {
            return Ok(Vec::new());
        }
        self.read(file)
            .map_err(|cause| unreadable(kind, &shown(file), &cause))
    }
}

fn unreadable(kind: &str, file: &str, cause: &io::Error) -> Stop {
    let cause = strerror(cause);
    Stop::Refuse(
        format!("rsync: [client] failed to open {kind} file {file}: {cause}"),
        Exit::FileIo,
    )
}

fn stop(error: &filter::Error) -> Stop {
    match error {
        filter::Error::Unreadable {
            action,
            file,
            cause: Some(cause),
        } => {
            let kind = if *action == filter::Action::Include {
                "include"
            } else {
                "exclude"
            };
            unreadable(kind, file, cause)
        }
        filter::Error::Unreadable { .. } => Stop::Refuse(error.to_string(), Exit::FileIo),
        filter::Error::TooDeep { .. } => Stop::Refuse(format!("[client] {error}"), Exit::FileIo),
        filter::Error::TooModern => Stop::Refuse(error.to_string(), Exit::Protocol),
        filter::Error::Syntax { .. } | filter::Error::OverLong { .. } => {
            Stop::syntax(error.to_string())
        }
    }
}

/// A missing list is an empty one.
fn home_cvsignore(env: &Env) -> Vec<u8> {
    let home = env.set("HOME").unwrap_or_default();
    std::fs::read(OsStr::from_bytes(&[home, b"/.cvsignore"].concat())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests make files of their own")]

    use filter::Side;

    use super::*;
    use crate::alias::Aliases;
    use crate::parse::{Invocation, parse};

    fn rules(line: &str) -> Result<Rules, Stop> {
        let words: Vec<Vec<u8>> = line
            .split(' ')
            .map(|word| word.replace('~', " ").into_bytes())
            .collect();
        let Ok(Invocation::Transfer(given)) = parse(&words, &Aliases::default()) else {
            panic!("{line}")
        };
        let env = Env::from([("CVSIGNORE", "*.mine")]);
        build(
            &Meant::new(*given, &env, &jiff::Zoned::now()).expect(line),
            &env,
        )
    }

    fn hides(line: &str, name: &str) -> bool {
        rules(line)
            .expect(line)
            .check(name.as_bytes(), false, Side::Sender)
            .is_excluded()
    }

    #[test]
    fn rules_stand_in_order() {
        assert!(hides("-r --include=a --exclude=* s d", "b"));
        assert!(!hides("-r --include=a --exclude=* s d", "a"));
        assert!(hides("-r -f-~*.o s d", "x.o"));
        assert!(hides("-rC s d", "x.o") && hides("-rC s d", "x.mine"));
        assert!(hides("-rFF s d", ".rsync-filter") && !hides("-rF s d", ".rsync-filter"));
        assert!(hides("--old-dirs s d", "a/b") && !hides("--old-dirs s d", "a"));
    }

    #[test]
    fn options_add_rules() {
        let protects = |line: &str, name: &str, is_dir| {
            rules(line)
                .expect(line)
                .check(name.as_bytes(), is_dir, Side::Receiver)
                .is_excluded()
        };
        assert!(protects("-rb --delete s d", "x~", false));
        assert!(!protects("-rb --delete --backup-dir=b s d", "x~", false));
        assert!(protects("-r --delete --partial-dir=.p s d", ".p", true));
        assert!(!protects("-r --delete --partial-dir=/p s d", "p", true));
    }

    #[test]
    fn from0_holds_for_what_comes_after_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("a file");
            path.to_str().expect("plain").to_owned()
        };
        let lines = file("lines", "a\r\nb\rc\n\n#d\ne\0f\n");
        let nuls = file("nuls", "a\0b\nc\0");
        for line in [
            format!("-r --exclude-from={lines} -0 s d"),
            format!("-r --filter=merge,-~{lines} -0 s d"),
            format!("-r --filter=merge,-w~{lines} -0 s d"),
            format!("-r --exclude-from={lines} s d"),
        ] {
            let hidden: String = ["a", "b", "c", "d", "e"]
                .into_iter()
                .filter(|name| hides(&line, name))
                .collect();
            assert_eq!(hidden, "abce", "{line}");
        }
        let line = format!("-r -0 --exclude-from={nuls} s d");
        assert!(hides(&line, "a") && hides(&line, "b\nc") && !hides(&line, "c"));
        let line = format!("-r --exclude-from={nuls} -0 s d");
        assert!(hides(&line, "a") && !hides(&line, "b\nc") && hides(&line, "c"));
        let line = format!("-r -0 --exclude-from={nuls} --no-from0 --exclude-from={lines} s d");
        assert!(hides(&line, "b\nc") && hides(&line, "b") && !hides(&line, "f"));
    }

    #[test]
    fn faults_are_told_in_rsyncs_words() {
        let told = |line: &str| match rules(line) {
            Err(Stop::Refuse(text, exit)) => (text, exit),
            other => panic!("{line}: {other:?}"),
        };
        assert_eq!(
            told("-r -f z~foo s d".replace("-f z", "-fz").as_str()).0,
            "Unknown filter rule: z foo"
        );
        assert_eq!(
            told("-r --exclude-from=/nonex/x s d"),
            (
                "rsync: [client] failed to open exclude file /nonex/x: No such file or directory (2)".to_owned(),
                Exit::FileIo
            )
        );
        assert_eq!(
            told("-r --filter=merge,+~/nonex/x s d").0,
            "rsync: [client] failed to open include file /nonex/x: No such file or directory (2)"
        );
    }
}
