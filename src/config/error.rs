//! What is wrong with a configuration: one line with file, line, key and fix.

use std::fmt;

/// Why the gateway can't start as told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Error {
    file: String,
    line: usize,
    what: String,
}

impl Error {
    /// Something wrong at a byte of a file's text.
    pub fn at(file: &str, text: &str, offset: usize, what: impl Into<String>) -> Error {
        let before = text.get(..offset).unwrap_or(text);
        Error { file: file.to_owned(), line: before.matches('\n').count() + 1, what: what.into() }
    }

    /// Something wrong with a file as a whole, or with the command line (`file` is the flag).
    pub fn whole(file: &str, what: impl Into<String>) -> Error {
        Error { file: file.to_owned(), line: 0, what: what.into() }
    }

    /// What the TOML reader found.
    pub fn from_toml(file: &str, text: &str, error: &toml::de::Error) -> Error {
        let offset = error.span().map_or(0, |span| span.start);
        let line = text.get(..offset).unwrap_or("").rsplit('\n').next().map_or(0, str::len);
        let key_line = text.get(offset - line..).and_then(|rest| rest.lines().next()).unwrap_or("");
        let key = key_line.split('=').next().unwrap_or("").trim();
        let mut message = error.message().replace('\n', " ");
        // It repeats what it found, and this line goes to the journal.
        if ["password", "secret"].iter().any(|word| key_line.contains(word))
            && let Some((_, wanted)) =
                message.split_once(", expected ").filter(|(found, _)| found.contains("invalid"))
        {
            message = format!("expected {wanted} in quotes");
        }
        let what = if key.is_empty() || key.starts_with('#') || message.contains(&format!("`{key}`")) {
            message
        } else {
            format!("{key}: {message}")
        };
        Error::at(file, text, offset, what)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.what),
            line => write!(f, "{}:{line}: {}", self.file, self.what),
        }
    }
}

impl std::error::Error for Error {}
