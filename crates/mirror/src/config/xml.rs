//! An XML file as a tree of elements, each of which knows its line.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};

/// How deep elements may lie in each other.
const DEPTH_MAX: usize = 64;

/// An element.
#[derive(Debug, Default, Clone)]
pub(super) struct Element {
    pub(super) name: String,
    pub(super) line: usize,
    attributes: Vec<(String, String)>,
    children: Vec<Element>,
}

impl Element {
    /// The first child of this name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of this name.
    pub(super) fn children<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The first element at the end of these names.
    pub(super) fn at(&self, names: &[&str]) -> Option<&Self> {
        names
            .iter()
            .try_fold(self, |element, name| element.child(name))
    }

    /// An attribute's value, without blanks around it; none if it is missing or empty.
    pub(super) fn attribute(&self, name: &str) -> Option<&str> {
        let (_, value) = self.attributes.iter().find(|(known, _)| known == name)?;
        Some(value.trim()).filter(|value| !value.is_empty())
    }

    /// Every element below this one, in the order of the file.
    pub(super) fn descendants(&self) -> Vec<&Self> {
        let mut all = Vec::new();
        for child in &self.children {
            all.push(child);
            all.extend(child.descendants());
        }
        all
    }

    /// Whether an attribute is the literal `true`.
    pub(super) fn is_true(&self, name: &str) -> bool {
        self.attribute(name) == Some("true")
    }
}

/// Reads a file's text. Returns its outermost element.
///
/// # Errors
/// The line, and what is wrong there.
pub(super) fn parse(text: &str) -> Result<Element, (usize, String)> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Element> = vec![Element::default()];
    loop {
        let event = reader.read_event();
        let at = usize::try_from(reader.buffer_position()).unwrap_or(usize::MAX);
        let line = text.as_bytes()[..at.min(text.len())]
            .iter()
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        match event.map_err(|error| (line, error.to_string()))? {
            Event::Start(start) => {
                if open.len() >= DEPTH_MAX {
                    return Err((line, "elements lie too deep in each other".to_owned()));
                }
                open.push(element(&start, line)?);
            }
            Event::Empty(start) => {
                let element = element(&start, line)?;
                if let Some(parent) = open.last_mut() {
                    parent.children.push(element);
                }
            }
            Event::End(_) => {
                if let (Some(element), Some(parent)) = (open.pop(), open.last_mut()) {
                    parent.children.push(element);
                }
            }
            Event::Eof if open.len() > 1 => {
                let name = open.pop().map(|element| element.name).unwrap_or_default();
                return Err((line, format!("<{name}> is not closed")));
            }
            Event::Eof => {
                let mut document = open.pop().unwrap_or_default();
                return match document.children.is_empty() {
                    true => Err((line, "there is no element".to_owned())),
                    false => Ok(document.children.swap_remove(0)),
                };
            }
            _ => {}
        }
    }
}

fn element(start: &BytesStart<'_>, line: usize) -> Result<Element, (usize, String)> {
    let mut element = Element {
        name: start.name().as_ref().to_owned(),
        line,
        ..Element::default()
    };
    // Of an attribute that is given twice the first one counts.
    for attribute in start.attributes().with_checks(false) {
        let attribute = attribute.map_err(|error| (line, error.to_string()))?;
        let name = attribute.key.as_ref().to_owned();
        element.attributes.push((name, unescaped(&attribute.value)));
    }
    Ok(element)
}

/// A value with its entities replaced. What is none stands for itself: people write URLs with a plain `&`.
fn unescaped(value: &str) -> String {
    let mut parts = value.split('&');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let entity = format!("&{part}");
        match quick_xml::escape::unescape(&entity) {
            Ok(replaced) => text.push_str(&replaced),
            Err(_) => text.push_str(&entity),
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_attributes_and_lines() {
        let text = "<?xml version=\"1.0\"?>\n<!-- c -->\n<head a=' &lt;x&gt; '>\n <b on=\"true\"/>\n <b on=\"True\"></b>\n <c><d e=\"\"/></c>\n</head>";
        let head = parse(text).unwrap();
        assert_eq!(
            (head.name.as_str(), head.attribute("a")),
            ("head", Some("<x>"))
        );
        let switches: Vec<bool> = head.children("b").map(|b| b.is_true("on")).collect();
        assert_eq!(switches, [true, false]);
        assert_eq!(
            head.children("b").map(|b| b.line).collect::<Vec<_>>(),
            [4, 5]
        );
        assert!(head.at(&["c", "d"]).unwrap().attribute("e").is_none());
        assert!(head.at(&["c", "x"]).is_none());
    }

    #[test]
    fn what_people_write_all_the_same() {
        let head = parse("<head a='x?b=1&c=2&amp;d&lt;&nope;' a='second'/>").unwrap();
        assert_eq!(head.attribute("a"), Some("x?b=1&c=2&d<&nope;"));
    }

    #[test]
    fn what_is_no_xml() {
        for text in ["", "text", "<a>", "<a><b></a>", "<a b=1/>"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse(&"<a>".repeat(1000)).unwrap_err().1.contains("deep"));
    }
}
