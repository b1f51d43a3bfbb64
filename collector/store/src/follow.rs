//! `dotter-store read --follow`: prints rows that are committed from now on.

use std::io::Write;
use std::os::fd::AsFd as _;
use std::time::Duration;

use dotter_daemon::stop_on_signals;
use dotter_dot::{SeriesName, Shape};
use dotter_store::{Matcher, Reader, Search};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::args::ReadOptions;
use crate::error::Error;
use crate::found;
use crate::page::{Binder, Page, Printer};

/// How often the log is looked at.
const EVERY: Duration = Duration::from_millis(20);

pub(crate) fn run(
    mut reader: Reader,
    options: &ReadOptions,
    printer: &Printer,
    out: &mut impl Write,
) -> Result<(), Error> {
    let stop = stop_on_signals().map_err(Error::Signals)?;
    printer.head(&[], out).map_err(Error::Output)?;
    reader.tell_rows();
    let range = options.chosen.range();
    let mut news = Vec::new();
    let mut seen = reader.snapshot();
    loop {
        out.flush().map_err(Error::Output)?;
        if stop.wait(EVERY) || is_unread() {
            return Ok(());
        }
        reader.refresh(Some(&mut news))?;
        let mut binder = Binder::new(printer.style, out);
        for commit in news.drain(..) {
            let mut page = Page::default();
            // A series has few shapes, and its rows come together.
            let mut asked: Option<(SeriesName, Shape, Option<Matcher<'_>>)> = None;
            for (name, row) in commit.rows() {
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
        }
        binder.end().map_err(Error::Output)?;
        // Foreign commits are segments of their own and never were in the log.
        let now = reader.snapshot();
        if now.generation() != seen.generation()
            && let Some(foreign) = now.foreign_since(&seen)
        {
            let series = options.chosen.series(&foreign);
            let filter = options.filter.as_deref();
            found::print(
                &Search { snapshot: &foreign, series: &series, range, filter, threads: options.threads },
                printer,
                out,
            )?;
        }
        seen = now;
    }
}

/// Whether no process reads standard output any more. A write would tell it only when there is something to write.
fn is_unread() -> bool {
    let out = std::io::stdout();
    let mut polled = [PollFd::new(out.as_fd(), PollFlags::empty())];
    let gone = PollFlags::POLLERR | PollFlags::POLLHUP;
    poll(&mut polled, PollTimeout::ZERO).is_ok()
        && polled[0].revents().is_some_and(|found| found.intersects(gone))
}
