//! Shell completions for `driftless` and its commands.

use rsync::table::{self, Takes};

use super::help_text::{self, HelpOption};

/// A command of the binary.
pub(super) struct Command {
    name: &'static str,
    about: &'static str,
    options: Vec<Completed>,
}

/// An option as a shell completes it.
struct Completed {
    /// Spellings with their dashes.
    names: Vec<String>,
    about: String,
    value: Value,
}

/// What completes an option's value.
#[derive(Clone, Copy)]
enum Value {
    None,
    /// Nothing is known of it.
    Any,
    File,
    Directory,
    Words(&'static str),
}

pub(super) fn commands(mirror: &str, wait: &str, watch: &str) -> Vec<Command> {
    let of_help = |help| help_text::options(help).iter().map(of_help_text).collect();
    vec![
        Command {
            name: "mirror",
            about: "mirror a directory in real time",
            options: of_help(mirror),
        },
        Command {
            name: "rsync",
            about: "copy files as rsync does",
            options: of_table(),
        },
        Command {
            name: "inotifywait",
            about: "wait for changes of files",
            options: of_help(wait),
        },
        Command {
            name: "inotifywatch",
            about: "count changes of files",
            options: of_help(watch),
        },
    ]
}

fn of_help_text(option: &HelpOption) -> Completed {
    let value = match option.value.to_lowercase().as_str() {
        "" => Value::None,
        "file" => Value::File,
        "dir" => Value::Directory,
        _ => Value::Any,
    };
    Completed {
        names: option.names.clone(),
        about: brief(&option.text),
        value,
    }
}

fn of_table() -> Vec<Completed> {
    let shown = table::rows().filter(|row| !row.brief.is_empty() || !row.also.is_empty());
    let mut completed = Vec::new();
    for row in shown {
        let long = Some(row.long).filter(|long| !long.is_empty());
        let long = long.map(|long| format!("--{long}"));
        let short = row.short.map(|letter| format!("-{}", char::from(letter)));
        let brief = if row.brief.is_empty() {
            row.also[0].1
        } else {
            row.brief
        };
        completed.push(Completed {
            names: long.into_iter().chain(short).collect(),
            about: brief.to_owned(),
            value: value_of(row.long, row.takes),
        });
        completed.extend(
            row.no
                .iter()
                .filter(|name| name.len() > 4)
                .map(|name| Completed {
                    names: vec![format!("--{name}")],
                    about: format!("turn --{} off", row.long),
                    value: Value::None,
                }),
        );
    }
    completed
}

fn value_of(long: &str, takes: Takes) -> Value {
    match (long, takes) {
        (_, Takes::Nothing) => Value::None,
        ("checksum-choice", _) => Value::Words("auto xxh128 xxh3 xxh64 md5 md4 sha1 none"),
        ("compress-choice", _) => Value::Words("auto zstd lz4 zlibx zlib none"),
        ("stderr", _) => Value::Words("errors all client"),
        ("outbuf", _) => Value::Words("N L B"),
        (_, Takes::Text("FILE")) => Value::File,
        (_, Takes::Text("DIR")) => Value::Directory,
        _ => Value::Any,
    }
}

/// The first sentence, without its end.
fn brief(text: &str) -> String {
    let end = text.find(". ").unwrap_or(text.len());
    text[..end].trim_end_matches('.').to_owned()
}

const NOTICE: &str = "Written by `cargo xtask papers`. Change what it is made from, not this file.";

/// For bash: sourced, or put where bash-completion looks for `driftless`.
pub(super) fn bash(commands: &[Command]) -> String {
    let mut text = format!("# {NOTICE}\n\n_driftless_options() {{\n    case $1 in\n");
    for command in commands {
        let names: Vec<&str> = command
            .options
            .iter()
            .flat_map(|option| &option.names)
            .map(String::as_str)
            .collect();
        text += &format!(
            "    {})\n        echo '{}'\n        ;;\n",
            command.name,
            names.join(" ")
        );
    }
    text += "    esac\n}\n\n# What completes the value of option $2 of command $1.\n_driftless_value() {\n    case $1:$2 in\n";
    for command in commands {
        for option in &command.options {
            let call = match option.value {
                Value::None => continue,
                Value::Any => ":".to_owned(),
                Value::File => "COMPREPLY=($(compgen -f -- \"$3\"))".to_owned(),
                Value::Directory => "COMPREPLY=($(compgen -d -- \"$3\"))".to_owned(),
                Value::Words(words) => format!("COMPREPLY=($(compgen -W '{words}' -- \"$3\"))"),
            };
            let keys: Vec<String> = option
                .names
                .iter()
                .map(|name| format!("{}:{name}", command.name))
                .collect();
            text += &format!("    {})\n        {call}\n        ;;\n", keys.join(" | "));
        }
    }
    let names: Vec<&str> = commands.iter().map(|command| command.name).collect();
    text += "    *)\n        return 1\n        ;;\n    esac\n}\n";
    text += &format!(
        "
_driftless() {{
    local word=$2 before=$3 command=${{COMP_WORDS[1]}}
    COMPREPLY=()
    if ((COMP_CWORD == 1)); then
        COMPREPLY=($(compgen -W '{} --help --version' -- \"$word\"))
        return
    fi
    # Bash takes `--name=value` apart.
    if [[ $before == '=' ]] && ((COMP_CWORD > 2)); then
        before=${{COMP_WORDS[COMP_CWORD - 2]}}
    elif [[ $word == '=' ]]; then
        word=
    fi
    _driftless_value \"$command\" \"$before\" \"$word\" && return
    if [[ $word == -* ]]; then
        COMPREPLY=($(compgen -W \"$(_driftless_options \"$command\")\" -- \"$word\"))
    else
        COMPREPLY=($(compgen -f -- \"$word\"))
    fi
}}

complete -o filenames -F _driftless driftless
",
        names.join(" ")
    );
    text
}

/// For zsh: put into a directory of `fpath`.
pub(super) fn zsh(commands: &[Command]) -> String {
    let mut text = format!(
        "#compdef driftless\n# {NOTICE}\n\n_driftless() {{\n    local -a commands\n    commands=(\n"
    );
    for command in commands {
        text += &format!("        '{}:{}'\n", command.name, quoted(command.about));
    }
    text += "    )\n    if ((CURRENT == 2)); then\n        _describe command commands\n        return\n    fi\n    shift words\n    ((CURRENT--))\n    case $words[1] in\n";
    for command in commands {
        text += &format!("    {})\n        _arguments -s \\\n", command.name);
        for option in &command.options {
            let action = match option.value {
                Value::None => String::new(),
                Value::Any => ":value:".to_owned(),
                Value::File => ":file:_files".to_owned(),
                Value::Directory => ":directory:_files -/".to_owned(),
                Value::Words(words) => format!(":value:({words})"),
            };
            for name in &option.names {
                let equals = if option.value.is_none() || !name.starts_with("--") {
                    ""
                } else {
                    "="
                };
                text += &format!(
                    "            '*{name}{equals}[{}]{action}' \\\n",
                    quoted(
                        &option
                            .about
                            .replace('[', "(")
                            .replace(']', ")")
                            .replace(':', ";")
                    )
                );
            }
        }
        text += "            '*:file:_files'\n        ;;\n";
    }
    text += "    esac\n}\n\n_driftless \"$@\"\n";
    text
}

/// For fish: put where fish looks for `driftless`.
pub(super) fn fish(commands: &[Command]) -> String {
    let mut text = format!("# {NOTICE}\n\n");
    for command in commands {
        text += &format!(
            "complete -c driftless -n __fish_use_subcommand -f -a {} -d '{}'\n",
            command.name,
            quoted_for_fish(command.about)
        );
    }
    for command in commands {
        text += &format!("\n# driftless {}\n", command.name);
        for option in &command.options {
            let spelled: Vec<String> = option.names.iter().map(|name| fish_name(name)).collect();
            let value = match option.value {
                Value::None => "",
                Value::Any => " -x",
                Value::File | Value::Directory => " -r",
                Value::Words(_) => " -x -a",
            };
            let words = match option.value {
                Value::Words(words) => format!(" '{words}'"),
                _ => String::new(),
            };
            text += &format!(
                "complete -c driftless -n '__fish_seen_subcommand_from {}' {}{value}{words} -d '{}'\n",
                command.name,
                spelled.join(" "),
                quoted_for_fish(&option.about)
            );
        }
    }
    text
}

fn fish_name(name: &str) -> String {
    match name.strip_prefix("--") {
        Some(long) => format!("-l {long}"),
        None if name.len() == 2 => format!("-s {}", &name[1..]),
        None => format!("-o {}", &name[1..]),
    }
}

impl Value {
    fn is_none(self) -> bool {
        matches!(self, Self::None)
    }
}

/// Within single quotes of a POSIX shell.
fn quoted(text: &str) -> String {
    text.replace('\'', "'\\''")
}

/// Within single quotes of fish.
fn quoted_for_fish(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_of_the_help_is_completed() {
        let commands = commands("", "", "");
        let rsync = commands.iter().find(|command| command.name == "rsync");
        let names: Vec<&String> = rsync
            .expect("a command")
            .options
            .iter()
            .flat_map(|option| &option.names)
            .collect();
        for row in table::rows().filter(|row| !row.brief.is_empty() && !row.long.is_empty()) {
            assert!(names.contains(&&format!("--{}", row.long)), "{}", row.long);
        }
    }

    #[test]
    fn quotes_are_those_of_each_shell() {
        assert_eq!(quoted("don't"), "don'\\''t");
        assert_eq!(quoted_for_fish("don't"), "don\\'t");
        assert_eq!(brief("One. Two."), "One");
    }
}
