//! A real headless Chromium, driven over `WebDriver` (<https://www.w3.org/TR/webdriver2/>).

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};
use testkit::{Program, eventually};

use crate::bench::SOON;

/// How long one command may take.
const PATIENCE: Duration = Duration::from_secs(120);

/// A browser with one window. It ends when it is dropped.
pub struct Browser {
    // The browser is in the driver's process group and ends with it.
    _driver: Program,
    port: u16,
    session: String,
}

impl Browser {
    /// Starts one that keeps its files in `directory`; none if there is no driver or no browser.
    pub fn start(directory: &Path) -> Option<Self> {
        let is_there = |name: &str| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            std::env::split_paths(&path).any(|dir| dir.join(name).is_file())
        };
        if !is_there("chromedriver") || !is_there("chromium") {
            testkit::skip("no Chromium with a driver is installed");
            return None;
        }
        let mut driver = Program::start(Command::new("chromedriver").arg("--port=0"));
        let line = driver.wait_for_line("started successfully on port ", SOON);
        let port = line.rsplit(' ').next().unwrap().trim_end_matches('.');
        let mut browser = Self {
            _driver: driver,
            port: port.parse().unwrap(),
            session: String::new(),
        };
        let profile = format!("--user-data-dir={}", directory.display());
        let arguments = ["--headless", "--no-sandbox", "--disable-gpu", &profile];
        let wanted = json!({"capabilities": {"alwaysMatch": {
            "goog:chromeOptions": {"args": arguments},
            "goog:loggingPrefs": {"browser": "ALL"},
        }}});
        let session = browser.request("POST", "/session", &wanted);
        browser.session = session["sessionId"].as_str().unwrap().to_owned();
        Some(browser)
    }

    /// Opens a page and waits until it is loaded.
    pub fn open(&self, url: &str) {
        self.command("/url", &json!({"url": url}));
    }

    /// Makes the window so large, in pixels.
    pub fn resize(&self, width: u32, height: u32) {
        self.command("/window/rect", &json!({"width": width, "height": height}));
    }

    /// Types into what `selector` finds.
    pub fn type_into(&self, selector: &str, text: &str) {
        let element = self.element(selector);
        self.command(&format!("/element/{element}/value"), &json!({"text": text}));
    }

    /// Clicks on what `selector` finds.
    pub fn click(&self, selector: &str) {
        let element = self.element(selector);
        self.command(&format!("/element/{element}/click"), &json!({}));
    }

    /// What a person reads in what `selector` finds.
    pub fn text(&self, selector: &str) -> String {
        let element = self.element(selector);
        let path = format!("/session/{}/element/{element}/text", self.session);
        let text = self.request("GET", &path, &Value::Null);
        text.as_str().unwrap().to_owned()
    }

    /// The value of an expression of JavaScript in the page.
    pub fn value(&self, expression: &str) -> Value {
        let script = format!("return {expression};");
        self.command("/execute/sync", &json!({"script": script, "args": []}))
    }

    /// What the page and the browser have complained about since they were asked last.
    pub fn complaints(&self) -> Vec<String> {
        let entries = self.command("/se/log", &json!({"type": "browser"}));
        let entries = entries.as_array().unwrap().iter();
        entries.map(|entry| entry["message"].to_string()).collect()
    }

    /// Waits until what `selector` finds says `text`.
    #[track_caller]
    pub fn wait_for_text(&self, selector: &str, text: &str) {
        eventually(SOON, || match self.text(selector) {
            found if found.contains(text) => Ok(()),
            found => Err(found),
        });
    }

    fn element(&self, selector: &str) -> String {
        let query = json!({"using": "css selector", "value": selector});
        let found = self.command("/element", &query);
        let mut references = found.as_object().unwrap().values();
        references.next().unwrap().as_str().unwrap().to_owned()
    }

    fn command(&self, path: &str, content: &Value) -> Value {
        let path = format!("/session/{}{path}", self.session);
        self.request("POST", &path, content)
    }

    fn request(&self, method: &str, path: &str, content: &Value) -> Value {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let content = match content {
            Value::Null => String::new(),
            content => content.to_string(),
        };
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{content}",
            content.len()
        )
        .unwrap();
        let mut answer: Value = serde_json::from_slice(&body(stream)).unwrap();
        let value = answer["value"].take();
        assert!(value["error"].is_null(), "{method} {path}: {value}");
        value
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // In order, so that the profile is not being written any more. Without an answer it is killed with its driver.
        if let Ok(mut stream) = TcpStream::connect(("127.0.0.1", self.port)) {
            let path = format!("/session/{}", self.session);
            let _ = write!(
                stream,
                "DELETE {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
            );
            let _ = stream.set_read_timeout(Some(PATIENCE));
            let _ = stream.read(&mut [0; 1]);
        }
    }
}

/// The content of an answer, as long as its head says; the driver keeps the connection.
fn body(stream: TcpStream) -> Vec<u8> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        let line = line.trim_end().to_ascii_lowercase();
        if let Some(value) = line.strip_prefix("content-length:") {
            length = value.trim().parse().unwrap();
        }
        if line.is_empty() {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).unwrap();
    body
}
