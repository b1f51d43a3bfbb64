//! Reading a request's parameters.

use dotter_dot::Timestamp;
use dotter_http::{Query, Request, Response};
use dotter_query::{Clock, Error, Window, Zone, parse_time};

/// The parameters of a GET, or of a POST as a form.
pub(crate) struct Form(Query);

impl Form {
    pub(crate) fn of(request: &Request) -> Form {
        Form(request.form())
    }

    /// The first value under a name.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name)
    }

    /// Every value under a name.
    pub(crate) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.all(name)
    }

    /// What `now` means for this request and where its days begin.
    pub(crate) fn clock(&self) -> Result<Clock, Error> {
        let zone = self.get("tz").map_or(Zone::Offset(0), Zone::new);
        let clock = Clock { now: Timestamp::now(), zone };
        match self.get("now").filter(|text| !text.is_empty()) {
            None => Ok(clock),
            Some(text) => {
                let now =
                    parse_time(text, &clock).map_err(|cause| Error::Time { parameter: "now", cause })?;
                Ok(Clock { now, ..clock })
            }
        }
    }

    /// `from` and `until`.
    pub(crate) fn window(&self, clock: &Clock) -> Result<Window, Error> {
        Window::parse(self.get("from"), self.get("until"), clock)
    }

    /// A whole number up to `max`, where one is given.
    pub(crate) fn number(&self, name: &'static str, max: u64) -> Result<Option<u64>, Error> {
        match self.get(name).filter(|text| !text.is_empty()) {
            None => Ok(None),
            Some(text) => match text.parse::<u64>() {
                Ok(number) if text.bytes().all(|b| b.is_ascii_digit()) => Ok(Some(number.min(max))),
                _ => Err(wrong(name, text, "a whole number")),
            },
        }
    }
}

/// A parameter that cannot be used.
pub(crate) fn wrong(name: &'static str, found: &str, expected: &'static str) -> Error {
    Error::Parameter { name, found: found.chars().take(80).collect(), expected }
}

/// One line that says why there is no answer.
pub(crate) fn refusal(error: &Error) -> Response {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text.push('\n');
    Response::text(error.status(), text)
}
