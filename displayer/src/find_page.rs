//! `/metrics/find` and `/metrics/index.json`.

use dotter_http::Response;
use dotter_query::{Budget, Error, Find, find, write_string};

use crate::feed::View;
use crate::form::{Form, wrong};

/// The answer to `/metrics/find`. `from` and `until` are taken and do not matter: a series is never out of
/// sight.
pub(crate) fn answer(view: &View, form: &Form) -> Result<Response, Error> {
    refuse_jsonp(form)?;
    let clock = form.clock()?;
    if form.get("from").is_some() || form.get("until").is_some() {
        form.window(&clock)?;
    }
    let request = Find::parse(|name| form.get(name))?;
    let found = find(&*view.source, &request, &Budget::start())?;
    Ok(Response::json(200, found.to_string()))
}

/// The answer to `/metrics/index.json`: every name there is.
pub(crate) fn index(view: &View, form: &Form) -> Result<Response, Error> {
    refuse_jsonp(form)?;
    let names = view.catalogue.names();
    let mut out = Vec::with_capacity(names.iter().map(|name| name.as_str().len() + 4).sum::<usize>() + 2);
    out.push(b'[');
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.extend_from_slice(b", ");
        }
        write_string(name.as_str(), &mut out);
    }
    out.push(b']');
    Ok(Response::json(200, out))
}

/// A script from anywhere could read what it wraps.
fn refuse_jsonp(form: &Form) -> Result<(), Error> {
    match form.get("jsonp").filter(|name| !name.is_empty()) {
        Some(name) => Err(wrong("jsonp", name, "none: plain JSON is served")),
        None => Ok(()),
    }
}
