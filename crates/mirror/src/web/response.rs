//! Answers, with the headers that keep a browser from being led astray.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use sha2::{Digest, Sha256};

const HTML: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// An answer.
pub(super) struct Response {
    pub(super) status: u16,
    content_type: &'static str,
    /// What a page may load and run: nothing, unless it says so.
    policy: String,
    /// A header of this answer alone.
    header: Option<&'static str>,
    body: Vec<u8>,
}

impl Response {
    /// A line for people.
    pub(super) fn text(status: u16, text: &str) -> Self {
        Self::new(
            status,
            "text/plain; charset=utf-8",
            format!("{text}\n").into_bytes(),
        )
    }

    pub(super) fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(body) => Self::new(200, "application/json", body),
            Err(error) => Self::text(500, &error.to_string()),
        }
    }

    /// In Prometheus' text format.
    pub(super) fn metrics(text: String) -> Self {
        let content_type = "text/plain; version=0.0.4; charset=utf-8";
        Self::new(200, content_type, text.into_bytes())
    }

    /// With one more header.
    pub(super) fn with(self, header: &'static str) -> Self {
        Self {
            header: Some(header),
            ..self
        }
    }

    /// As it goes over the wire; `is_head` leaves the content out.
    pub(super) fn bytes(&self, is_head: bool) -> Vec<u8> {
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, reason(self.status));
        let length = self.body.len();
        // Writing to a string does not fail.
        let _ = write!(
            head,
            "Content-Type: {}\r\nContent-Length: {length}\r\nConnection: close\r\nCache-Control: no-store\r\n\
             Content-Security-Policy: {}\r\nX-Content-Type-Options: nosniff\r\nX-Frame-Options: DENY\r\n\
             Referrer-Policy: no-referrer\r\nCross-Origin-Resource-Policy: same-origin\r\n",
            self.content_type, self.policy
        );
        if let Some(header) = self.header {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let mut bytes = head.into_bytes();
        if !is_head {
            bytes.extend_from_slice(&self.body);
        }
        bytes
    }

    fn new(status: u16, content_type: &'static str, body: Vec<u8>) -> Self {
        Self {
            status,
            content_type,
            policy: "default-src 'none'; frame-ancestors 'none'".to_owned(),
            header: None,
            body,
        }
    }
}

/// The page for a browser: one file that loads nothing but its own figures.
pub(super) struct Page {
    html: String,
    /// Only the script and the style that are in the page, whatever else finds its way into it.
    policy: String,
}

impl Page {
    pub(super) fn new() -> Self {
        let hash = |text: &str| STANDARD.encode(Sha256::digest(text.as_bytes()));
        Self {
            html: HTML
                .replace("{{style}}", STYLE)
                .replace("{{script}}", SCRIPT),
            policy: format!(
                "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
                 base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
                hash(SCRIPT),
                hash(STYLE)
            ),
        }
    }

    pub(super) fn response(&self) -> Response {
        Response {
            policy: self.policy.clone(),
            ..Response::new(
                200,
                "text/html; charset=utf-8",
                self.html.clone().into_bytes(),
            )
        }
    }
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        431 => "Request Header Fields Too Large",
        _ => "Internal Server Error",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_whole_and_loads_nothing() {
        let page = Page::new();
        assert!(page.html.contains(SCRIPT) && page.html.contains(STYLE));
        assert!(!page.html.contains("{{"));
        for foreign in [
            "src=",
            "@import",
            "url(",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
        ] {
            assert!(!page.html.contains(foreign), "{foreign}");
        }
        // The end tags would end them where the browser does not expect it, and the hashes would be wrong.
        assert!(!SCRIPT.contains("</") && !STYLE.contains("</"));
        let others = page.html.matches("http").count()
            - page.html.matches("http://www.w3.org/2000/svg").count();
        assert_eq!(others, 0, "a foreign address");
    }

    #[test]
    fn an_answer_on_the_wire() {
        let bytes = Response::text(404, "no").with("X: y").bytes(false);
        let text = String::from_utf8(bytes).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 404 Not Found\r\n") && head.ends_with("\r\nX: y"));
        assert!(head.contains("\r\nContent-Length: 3\r\n") && head.contains("default-src 'none'"));
        assert_eq!(body, "no\n");
        assert!(Response::text(404, "no").bytes(true).ends_with(b"\r\n\r\n"));
    }
}
