//! `dotter-store read --follow`: prints rows that are committed from now on, or from where a hold stands.

use std::io::Write;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::time::Duration;

use dotter_daemon::{StopFlag, stop_on_signals};
use dotter_dot::{SeriesName, Shape, Timestamp};
use dotter_store::{Commit, Follow, Matcher, News, Search, What};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::args::ReadOptions;
use crate::error::Error;
use crate::found;
use crate::page::{Binder, Page, Printer};

/// How often the store is looked at.
const EVERY: Duration = Duration::from_millis(20);

pub(crate) fn run(
    dir: &Path,
    options: &ReadOptions,
    printer: &Printer,
    out: &mut impl Write,
) -> Result<(), Error> {
    let mut follow = match &options.hold {
        Some(name) => Follow::held(dir, name)?,
        None => Follow::now(dir)?,
    };
    let stop = stop_on_signals().map_err(Error::Signals)?;
    printer.head(&[], out).map_err(Error::Output)?;
    follow.tell_rows();
    let mut commits = Vec::new();
    loop {
        out.flush().map_err(Error::Output)?;
        let is_more = match follow.look(&mut commits) {
            Err(dotter_store::Error::Missed(missed)) => {
                eprintln!("dotter-store: {missed}; what comes after them follows");
                follow.skip(&missed);
                true
            }
            other => other?,
        };
        for commit in commits.drain(..) {
            print(&commit, options, printer, out)?;
        }
        out.flush().map_err(Error::Output)?;
        // What is printed is not needed any more.
        follow.done()?;
        if is_over(&stop, if is_more { Duration::ZERO } else { EVERY }) {
            return Ok(());
        }
    }
}

fn is_over(stop: &StopFlag, wait: Duration) -> bool {
    stop.wait(wait) || is_unread()
}

fn print(
    commit: &Commit,
    options: &ReadOptions,
    printer: &Printer,
    out: &mut impl Write,
) -> Result<(), Error> {
    match &commit.what {
        What::Frame(news) => print_news(news, options, printer, out),
        What::Segments(store) => {
            let search = Search {
                snapshot: store,
                series: &options.chosen.series(store),
                range: options.chosen.range(),
                filter: options.filter.as_deref(),
                threads: options.threads,
            };
            found::print(&search, printer, out).map(drop)
        }
        What::Delete(delete) => {
            let [first, last] = [delete.first, delete.last].map(Timestamp::from_nanos);
            let when =
                if delete.last == u64::MAX { String::new() } else { format!(" from {first} to {last}") };
            eprintln!("dotter-store: deleted: {}{when}", delete.pattern.as_str());
            Ok(())
        }
        What::Rename { from, to } => {
            eprintln!("dotter-store: renamed: {from} is {to} now");
            Ok(())
        }
    }
}

fn print_news(
    news: &News,
    options: &ReadOptions,
    printer: &Printer,
    out: &mut impl Write,
) -> Result<(), Error> {
    let range = options.chosen.range();
    let mut binder = Binder::new(printer.style, out);
    let mut page = Page::default();
    // A series has few shapes, and its rows come together.
    let mut asked: Option<(SeriesName, Shape, Option<Matcher<'_>>)> = None;
    for (name, row) in news.rows() {
        if !asked.as_ref().is_some_and(|(of, shape, _)| of == name && shape.is(row.shape())) {
            let matcher = match &options.filter {
                _ if !options.chosen.has(name.as_str()) => None,
                Some(filter) => Some(filter.matcher(name.as_str(), row.shape())),
                None => Some(Matcher::ALWAYS),
            };
            asked = Some((name.clone(), row.shape().clone(), matcher));
        }
        let matches = asked.as_ref().and_then(|(.., matcher)| matcher.as_ref());
        if range.contains(row.time()) && matches.is_some_and(|matcher| matcher.matches(&row)) {
            printer.row(name, &row, &mut page);
        }
    }
    binder.page(page).map_err(Error::Output)?;
    binder.end().map_err(Error::Output)
}

/// Whether no process reads standard output any more. A write would tell it only when there is something to write.
fn is_unread() -> bool {
    let out = std::io::stdout();
    let mut polled = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut polled, PollTimeout::ZERO).is_ok()
        && polled[0].revents().is_some_and(|found| found.intersects(gone))
}
