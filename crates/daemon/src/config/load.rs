//! From statements to values: sections, inheritance, included files, overrides.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rsync::Env;
use thiserror::Error;
use tree::{Policy, Root, open_trusted_file};

use super::grammar::{Statement, Statements};
use super::parameters::{self, Parameter, Scope, same_name};
use super::problem::OsCode;
use super::{Config, Failure, Fault, Globals, Module, Place, Problem, Settings};

/// A parameter given with `--dparam`, which holds as if it stood at the end of the first global section.
#[derive(Clone, Debug)]
pub struct Override {
    parameter: &'static Parameter,
    value: Vec<u8>,
}

/// `--dparam` names no parameter; the text is rsync's.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("Unknown parameter \"{0}\"")]
pub struct UnknownParameter(pub String);

impl Override {
    /// Reads `NAME=VALUE`.
    ///
    /// # Errors
    /// [`UnknownParameter`].
    pub fn parse(text: &[u8]) -> Result<Self, UnknownParameter> {
        let equals = text.iter().position(|&byte| byte == b'=');
        let (name, value) = text.split_at(equals.unwrap_or(text.len()));
        let parameter = parameters::find(name)
            .ok_or_else(|| UnknownParameter(String::from_utf8_lossy(name).into_owned()))?;
        Ok(Self {
            parameter,
            value: value.get(1..).unwrap_or_default().to_vec(),
        })
    }
}

/// How much of a file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Up to the first section of a module, wherever it is.
    Globals,
    /// All of it.
    Whole,
}

pub(super) fn load(
    file: &Path,
    overrides: &[Override],
    env: &Env,
    extent: Extent,
) -> Result<Config, Failure> {
    let mut loader = Loader {
        config: Config {
            globals: Globals::default(),
            defaults: Settings::default(),
            modules: Vec::new(),
            problems: Vec::new(),
        },
        section: None,
        overrides,
        env,
        extent,
    };
    let read = loader.file(file, 0);
    if let Err(Stop::Fatal(problem)) = read {
        loader.config.problems.push(problem);
        return Err(Failure {
            problems: loader.config.problems,
            defaults: Box::new(loader.config.defaults),
        });
    }
    loader.apply_overrides();
    Ok(loader.finish())
}

struct Loader<'a> {
    config: Config,
    /// The module that parameters belong to; `None` in a global section.
    section: Option<usize>,
    /// Those that are still to be applied.
    overrides: &'a [Override],
    env: &'a Env,
    extent: Extent,
}

/// Why reading ends before the end of the files.
enum Stop {
    /// The globals are complete.
    Enough,
    Fatal(Problem),
}

/// Files that include each other end here; no real configuration is as deep.
const DEPTH_MAX: u32 = 32;

impl Loader<'_> {
    fn file(&mut self, path: &Path, depth: u32) -> Result<(), Stop> {
        let text = read_trusted(path).map_err(|cause| {
            let fault = Fault::UnreadableFile(shown(path), OsCode::from(&cause));
            Stop::Fatal(Problem { place: None, fault })
        })?;
        let file: Arc<Path> = path.into();
        for (line, statement) in Statements::new(&text) {
            let place = Place {
                file: Arc::clone(&file),
                line,
            };
            match statement {
                Ok(Statement::Section(name)) => self.section(name, place)?,
                Ok(Statement::Parameter { name, value }) => self.parameter(&name, &value, place),
                Ok(Statement::Directive { name, argument }) => {
                    let argument = PathBuf::from(OsStr::from_bytes(&argument));
                    self.directive(&name, &argument, place, depth)?;
                }
                Err(fault @ (Fault::BadLine(_) | Fault::EndInName(_))) => self.note(place, fault),
                Err(fault) => return Err(fatal(place, fault)),
            }
        }
        Ok(())
    }

    fn section(&mut self, name: Vec<u8>, place: Place) -> Result<(), Stop> {
        if same_name(&name, b"global") {
            self.section = None;
            return Ok(());
        }
        if self.extent == Extent::Globals {
            return Err(Stop::Enough);
        }
        self.apply_overrides();
        let modules = &mut self.config.modules;
        let known = modules
            .iter()
            .position(|module| same_name(&module.name, &name));
        self.section = Some(known.unwrap_or(modules.len()));
        match known {
            Some(known) => modules[known].again.push(place),
            None => modules.push(Module {
                name,
                place,
                again: Vec::new(),
                settings: self.config.defaults.clone(),
            }),
        }
        Ok(())
    }

    fn parameter(&mut self, name: &[u8], value: &[u8], place: Place) {
        let shown = |text: &[u8]| String::from_utf8_lossy(text).into_owned();
        let Some(parameter) = parameters::find(name) else {
            return self.note(place, Fault::UnknownParameter(shown(name)));
        };
        let config = &mut self.config;
        let settings = match self.section {
            Some(_) if parameter.scope() == Scope::Global => {
                return self.note(place, Fault::GlobalInModule(shown(name)));
            }
            Some(module) => &mut config.modules[module].settings,
            None => &mut config.defaults,
        };
        let said = parameter.assign(
            &mut config.globals,
            settings,
            value,
            Some(place.clone()),
            self.env,
        );
        if let Err(fault) = said {
            self.note(place, fault);
        }
    }

    fn directive(
        &mut self,
        name: &[u8],
        argument: &Path,
        place: Place,
        depth: u32,
    ) -> Result<(), Stop> {
        let merges = if name.eq_ignore_ascii_case(b"&merge") {
            true
        } else if name.eq_ignore_ascii_case(b"&include") {
            false
        } else {
            let name = String::from_utf8_lossy(name).into_owned();
            return Err(fatal(place, Fault::UnknownDirective(name)));
        };
        if depth == DEPTH_MAX {
            return Err(fatal(place, Fault::TooDeep(shown(argument))));
        }
        let suffix: &[u8] = if merges { b".inc" } else { b".conf" };
        let files = files(argument, suffix).map_err(|fault| fatal(place.clone(), fault))?;
        for file in files {
            let read = if merges {
                self.file(&file, depth + 1)
            } else {
                self.included(&file, depth + 1)
            };
            // A file that vanishes now is told with the line that names it.
            read.map_err(|stop| match stop {
                Stop::Fatal(problem) if problem.place.is_none() => {
                    fatal(place.clone(), problem.fault)
                }
                stop => stop,
            })?;
        }
        Ok(())
    }

    /// A file that starts in the global section and leaves nothing behind but its modules.
    fn included(&mut self, file: &Path, depth: u32) -> Result<(), Stop> {
        let saved = (self.config.globals.clone(), self.config.defaults.clone());
        self.section = None;
        self.file(file, depth)?;
        (self.config.globals, self.config.defaults) = saved;
        // rsync does not return to the module that the directive stands in.
        self.section = None;
        Ok(())
    }

    fn apply_overrides(&mut self) {
        for Override { parameter, value } in std::mem::take(&mut self.overrides) {
            let config = &mut self.config;
            let said = parameter.assign(
                &mut config.globals,
                &mut config.defaults,
                value,
                None,
                self.env,
            );
            if let Err(fault) = said {
                config.problems.push(Problem { place: None, fault });
            }
        }
    }

    /// Texts that neither a module nor the global section before it has named are those that the global section has in the
    /// end. Other values are a module's own from its first line on.
    fn finish(mut self) -> Config {
        for module in &mut self.config.modules {
            for parameter in parameters::rows() {
                parameter.inherit(&mut module.settings, &mut self.config.defaults);
            }
        }
        self.config
    }

    fn note(&mut self, place: Place, fault: Fault) {
        let place = Some(place);
        self.config.problems.push(Problem { place, fault });
    }
}

fn fatal(place: Place, fault: Fault) -> Stop {
    let place = Some(place);
    Stop::Fatal(Problem { place, fault })
}

/// The files that a directive means: the file itself, or those of a directory with this suffix, in the order of their
/// names.
fn files(path: &Path, suffix: &[u8]) -> Result<Vec<PathBuf>, Fault> {
    let meta = std::fs::metadata(path)
        .map_err(|cause| Fault::NoSuchFile(shown(path), OsCode::from(&cause)))?;
    if !meta.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let policy = Policy {
        trusted_path: true,
        ..Policy::default()
    };
    let entries = Root::open_with(path, policy).and_then(|root| root.read_dir(Path::new("")));
    let entries =
        entries.map_err(|error| Fault::UnreadableDir(shown(path), OsCode::from(error.cause())))?;
    let mut files: Vec<PathBuf> = entries
        .into_iter()
        .filter(|entry| entry.name.as_bytes().ends_with(suffix))
        .map(|entry| path.join(entry.name))
        .filter(|file| !file.is_dir())
        .collect();
    files.sort_by(|a, b| a.as_os_str().as_bytes().cmp(b.as_os_str().as_bytes()));
    Ok(files)
}

/// The contents of a file that only root or we ourselves can have put there (behaviour.md 9.1).
fn read_trusted(path: &Path) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    open_trusted_file(path)?.read_to_end(&mut text)?;
    Ok(text)
}

fn shown(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::disallowed_methods, reason = "tests write files of their own")]

    use std::fs;

    use proptest::prelude::*;
    use tempfile::TempDir;

    use super::*;

    /// A directory with these files; the first one is the configuration.
    struct Files(TempDir);

    impl Files {
        fn new(files: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().expect("a directory");
            let here = dir.path().to_str().expect("UTF-8").to_owned();
            for (name, text) in files {
                let path = dir.path().join(name);
                fs::create_dir_all(path.parent().expect("in the directory")).expect("made");
                fs::write(path, text.replace('@', &here)).expect("written");
            }
            Self(dir)
        }

        fn load(&self, overrides: &[&str]) -> Result<Config, Failure> {
            let overrides: Vec<Override> = overrides
                .iter()
                .map(|text| Override::parse(text.as_bytes()).expect(text))
                .collect();
            let env = Env::from([("LIMIT", "7")]);
            Config::load(&self.0.path().join("conf"), &overrides, &env)
        }
    }

    fn config(text: &str) -> Config {
        Files::new(&[("conf", text)]).load(&[]).expect(text)
    }

    /// `name=comment` of each module.
    fn comments(config: &Config) -> Vec<String> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        config
            .modules
            .iter()
            .map(|module| {
                format!(
                    "{}={}",
                    text(&module.name),
                    text(module.settings.comment.raw())
                )
            })
            .collect()
    }

    /// The problems, without the directory.
    fn told(problems: &[Problem]) -> Vec<String> {
        let line = |problem: &Problem| problem.place.as_ref().map_or(0, |place| place.line);
        problems
            .iter()
            .map(|problem| format!("{}: {}", line(problem), problem.fault))
            .collect()
    }

    #[test]
    fn a_section_said_again_goes_on() {
        let config = config(
            "[m]\ncomment=a\n[M]\ncomment=b\n[ n  o ]\nlist=no\nport=3\n[Glo bal]\nport=4\n",
        );
        assert_eq!(comments(&config), ["m=b", "n o="]);
        assert!(
            !config
                .module(b"n o")
                .expect("by its exact name")
                .settings
                .list
        );
        assert!(config.module(b"M").is_none());
        assert_eq!(config.globals.port, 4);
        assert_eq!(
            told(&config.problems),
            ["7: global parameter \"port\" in a module: it belongs before the first module"]
        );
    }

    #[test]
    fn modules_inherit_what_is_global() {
        let config = config(
            "[m]\n[global]\ncomment=g\nlist=no\n[n]\nlist=yes\n[global]\ncomment=h\n[o]\n[p]\ncomment=\n",
        );
        // A text that was never said is that of the end, another value that of the beginning.
        assert_eq!(comments(&config), ["m=h", "n=g", "o=h", "p="]);
        let lists: Vec<bool> = config
            .modules
            .iter()
            .map(|module| module.settings.list)
            .collect();
        assert_eq!(lists, [true, true, false, false]);
        assert_eq!(config.defaults.comment.raw(), b"h");
    }

    #[test]
    fn values_are_read_as_rsync_reads_them() {
        let config = config(
            "max connections = %LIMIT%\n[m]\npath = /a/%LIMIT%//\ntimeout=0x10\nread only=perhaps\nuse chroot=unset\n",
        );
        let settings = &config.modules[0].settings;
        assert_eq!((settings.max_connections, settings.timeout), (7, 0));
        assert_eq!(settings.path.expand(&Env::from([("LIMIT", "8")])), b"/a/8");
        assert_eq!(settings.path.place().map(|place| place.line), Some(3));
        assert_eq!((settings.read_only, settings.use_chroot), (true, None));
        assert_eq!(
            told(&config.problems),
            [
                "4: \"0x10\" is no number",
                "5: \"perhaps\" is neither yes nor no"
            ]
        );
    }

    #[test]
    fn included_files_leave_only_modules() {
        let files = Files::new(&[
            (
                "conf",
                "comment=c\n&include @/d\n&merge @/e\n[m]\n&include @/d/a.conf\ncomment=z\n",
            ),
            ("d/b.conf", "motd file=x\ncomment=b\n[b]\n"),
            ("d/a.conf", "[a]\n"),
            ("d/c.inc", "comment=wrong\n"),
            ("e/x.inc", "pid file=p\n[x]\n"),
            ("e/y.conf", "[y]\n"),
        ]);
        let config = files.load(&[]).expect("legal");
        // The last comment belongs to the global section: the directive ended the module's.
        assert_eq!(comments(&config), ["a=c", "b=b", "x=c", "m=c"]);
        assert!(config.globals.motd_file.is_empty());
        assert_eq!(config.globals.pid_file.raw(), b"p");
        assert_eq!(config.defaults.comment.raw(), b"z");
    }

    #[test]
    fn overrides_come_before_the_first_module() {
        let files = Files::new(&[(
            "conf",
            "comment=a\nmotd file=x\n[m]\n[global]\nmotd file=y\n",
        )]);
        let config = files
            .load(&["co mment=b=c", "MOTDfile=z", "readonly=maybe"])
            .expect("legal");
        assert_eq!(comments(&config), ["m=b=c"]);
        assert_eq!(config.globals.motd_file.raw(), b"y");
        assert_eq!(
            told(&config.problems),
            ["0: \"maybe\" is neither yes nor no"]
        );
        assert_eq!(
            Override::parse(b"bogus=1")
                .expect_err("unknown")
                .to_string(),
            "Unknown parameter \"bogus\""
        );
    }

    #[test]
    fn globals_end_at_the_first_module() {
        let files = Files::new(&[
            ("conf", "port=1\n&include @/i\nport=2\n"),
            ("i", "[m]\n[broken\n"),
        ]);
        let file = files.0.path().join("conf");
        let globals = Config::load_globals(&file, &[], &Env::default()).expect("legal so far");
        assert_eq!((globals.globals.port, globals.modules.len()), (1, 0));
        assert!(files.load(&[]).is_err());
    }

    #[test]
    fn failures_name_file_and_line() {
        for (text, line, last) in [
            (
                "log file=l\n[m\n",
                Some(2),
                "params.c:Section() - Badly formed line in config file: m",
            ),
            ("log file=l\n&x y\n", Some(2), "Unknown directive: &x."),
            (
                "log file=l\n&include @/none\n",
                Some(2),
                "rsync: [Receiver] unable to stat config file \"@/none\": No such file or directory (2)",
            ),
            (
                "log file=l\n&merge @/conf\n",
                Some(2),
                "config file \"@/conf\" is included too deeply",
            ),
        ] {
            let files = Files::new(&[("conf", text)]);
            let failure = files.load(&[]).expect_err(text);
            let problem = failure.problems.last().expect("a reason");
            assert_eq!(failure.defaults.log_file.raw(), b"l");
            assert_eq!(problem.place.as_ref().map(|place| place.line), line);
            let here = files.0.path().to_str().expect("UTF-8");
            assert_eq!(
                failure.log_lines("Receiver"),
                [
                    last.replace('@', here),
                    "params.c:pm_process() - Failed.  Error returned from params.c:parse()."
                        .to_owned()
                ]
            );
        }
    }

    #[test]
    fn a_missing_file() {
        let failure = Config::load(Path::new("/nonexistent"), &[], &Env::default());
        assert_eq!(
            failure.expect_err("no file").log_lines("Receiver"),
            [
                "rsync: [Receiver] unable to open config file \"/nonexistent\": No such file or directory (2)"
            ]
        );
    }

    /// The configuration of a tutorial that many have copied, down to a parameter without a value.
    #[test]
    fn a_configuration_as_it_is_found() {
        let config = config(
            "uid = rsync\ngid = rsync\nfake super = yes \nuse chroot = no\nmax connections = 200\npid file = /var/run/rsyncd.pid\n\
             lock file = /var/run/rsync.lock\nlog file = /var/log/rsyncd.log\nignore errors\nread only = false\nlist = false\n\
             hosts allow = 192.168.37.0/24\nhosts deny = 0.0.0.0/32\nauth users = rsync_backup\nsecrets file = /etc/rsync.password    \n\n\n\
             [backup]\ncomment = this is syh backup!\npath = /backup\n[data]\npath = /data\nexclude=a c b/2\n",
        );
        let [backup, data] = &config.modules[..] else {
            panic!("{:?}", config.modules);
        };
        assert_eq!(backup.settings.secrets_file.raw(), b"/etc/rsync.password");
        assert_eq!(backup.settings.use_chroot, Some(false));
        assert!(backup.settings.fake_super && !backup.settings.read_only && !backup.settings.list);
        assert_eq!(backup.settings.max_connections, 200);
        assert_eq!(data.settings.exclude.raw(), b"a c b/2");
        assert_eq!(data.settings.uid.raw(), b"rsync");
        assert_eq!(
            told(&config.problems),
            ["9: no \"=\" in \"ignore errors\": the line is ignored"]
        );
    }

    proptest! {
        #[test]
        fn any_bytes_load_or_fail(text in "([\\[\\]=&#\\\\ \n%]|list|yes|max connections|a|&merge|syslog facility){0,40}") {
            let _ = Files::new(&[("conf", &text)]).load(&[]);
        }
    }
}
