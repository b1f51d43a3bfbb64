//! `struct dotter_lane`: a lane of its own for a thread with much to publish.

use std::cell::UnsafeCell;
use std::ffi::{c_char, c_int, c_void};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, compiler_fence};

use dotter_publisher::{Bytes, Lane, Series, Text, Timestamp};

use crate::border::{code, guard, null};
use crate::bytes::content;
use crate::cells::{Cell, Row};
use crate::failure::Failure;
use crate::publisher::Handle;
use crate::tagged::{Tagged, tag};
use crate::text::line;

/// `struct dotter_lane`
pub struct OwnLane {
    /// Set while something is being written: a signal handler that comes then is told so.
    busy: AtomicBool,
    lane: UnsafeCell<Lane>,
}

tag!(OwnLane, b"dot:lane", "the lane");

impl OwnLane {
    /// Lets `write` have the lane.
    ///
    /// # Safety
    ///
    /// No other thread is here.
    #[inline(always)]
    unsafe fn write(&self, write: impl FnOnce(&mut Lane)) -> Result<c_int, Failure> {
        // Relaxed: only one thread looks. The fences keep the compiler from moving the dot out of here.
        if self.busy.load(Relaxed) {
            return Err(BUSY);
        }
        self.busy.store(true, Relaxed);
        compiler_fence(SeqCst);
        // SAFETY: no other thread is here, and this one was not, as the flag has just said.
        write(unsafe { &mut *self.lane.get() });
        compiler_fence(SeqCst);
        self.busy.store(false, Relaxed);
        Ok(0)
    }
}

/// What a signal handler is told; made before, because one asks.
const BUSY: Failure =
    Failure::busy(c"the lane is in the middle of what this signal handler interrupted; nothing was done");

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_counts`](crate::dotter_counts).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_lane(dotter: *const Tagged<Handle>) -> *mut Tagged<OwnLane> {
    guard(null, || {
        // SAFETY: the caller's promise; a publisher is only ever used as shared.
        let lane = unsafe { Tagged::of(dotter) }?.publisher.lane()?;
        let lane = OwnLane { busy: AtomicBool::new(false), lane: UnsafeCell::new(lane) };
        Ok(Box::into_raw(Box::new(Tagged::new(lane))))
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `lane`: NULL, or from [`dotter_lane`] and not closed; no thread uses it any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_lane_close(lane: *mut Tagged<OwnLane>) -> c_int {
    guard(code, || {
        if !lane.is_null() {
            // SAFETY: the caller's promise.
            unsafe { Tagged::of(lane)?.write(|_| ()) }?;
            // SAFETY: it came from `Box::into_raw` in `dotter_lane`, and the caller gives it up.
            drop(unsafe { Box::from_raw(lane) });
        }
        Ok(0)
    })
}

macro_rules! dots {
    ($($type:ident $dot:ident $dot_at:ident),*) => {$(
        /// See `dotter.h`.
        ///
        /// # Safety
        ///
        /// `lane`: NULL, or from [`dotter_lane`], not closed and used by no other thread. `series`: NULL, or of
        /// a publisher that is not closed.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $dot(
            lane: *const Tagged<OwnLane>,
            series: *const Tagged<Series<$type>>,
            value: $type,
        ) -> c_int {
            guard(code, || {
                // SAFETY: the caller's promise.
                let (lane, series) = unsafe { (Tagged::of(lane)?, Tagged::of(series)?) };
                // SAFETY: the caller's promise.
                unsafe { lane.write(|lane| lane.dot(series, value)) }
            })
        }

        /// See `dotter.h`.
        ///
        /// # Safety
        ///
        /// `lane`: NULL, or from [`dotter_lane`], not closed and used by no other thread. `series`: NULL, or of
        /// a publisher that is not closed.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $dot_at(
            lane: *const Tagged<OwnLane>,
            series: *const Tagged<Series<$type>>,
            nanoseconds: u64,
            value: $type,
        ) -> c_int {
            let time = Timestamp::from_nanos(nanoseconds);
            guard(code, || {
                // SAFETY: the caller's promise.
                let (lane, series) = unsafe { (Tagged::of(lane)?, Tagged::of(series)?) };
                // SAFETY: the caller's promise.
                unsafe { lane.write(|lane| lane.dot_at(series, time, value)) }
            })
        }
    )*};
}

dots!(
    f64 dotter_lane_dot dotter_lane_dot_at,
    f32 dotter_lane_dot_f32 dotter_lane_dot_at_f32,
    i64 dotter_lane_dot_i64 dotter_lane_dot_at_i64,
    u64 dotter_lane_dot_u64 dotter_lane_dot_at_u64
);

/// See `dotter.h`.
///
/// # Safety
///
/// `lane`: as in [`dotter_lane_dot`]. `text`, `line`: as in [`dotter_line`](crate::dotter_line).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_lane_line(
    lane: *const Tagged<OwnLane>,
    text: *const Tagged<Text>,
    line_bytes: *const c_char,
    bytes: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise.
        let (lane, text, line) = unsafe { (Tagged::of(lane)?, Tagged::of(text)?, line(line_bytes, bytes)?) };
        // SAFETY: the caller's promise.
        unsafe { lane.write(|lane| lane.line(text, line)) }
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_lane_line`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_lane_line_at(
    lane: *const Tagged<OwnLane>,
    text: *const Tagged<Text>,
    nanoseconds: u64,
    line_bytes: *const c_char,
    bytes: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise.
        let (lane, text, line) = unsafe { (Tagged::of(lane)?, Tagged::of(text)?, line(line_bytes, bytes)?) };
        // SAFETY: the caller's promise.
        unsafe { lane.write(|lane| lane.line_at(text, Timestamp::from_nanos(nanoseconds), line)) }
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `lane`: as in [`dotter_lane_dot`]. `series`, `bytes`: as in [`dotter_dot_bytes`](crate::dotter_dot_bytes).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_lane_dot_bytes(
    lane: *const Tagged<OwnLane>,
    series: *const Tagged<Bytes>,
    bytes: *const c_void,
    size: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise.
        let (lane, series, bytes) =
            unsafe { (Tagged::of(lane)?, Tagged::of(series)?, content(bytes, size)?) };
        // SAFETY: the caller's promise.
        unsafe { lane.write(|lane| lane.bytes(series, bytes)) }
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_lane_dot_bytes`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_lane_dot_at_bytes(
    lane: *const Tagged<OwnLane>,
    series: *const Tagged<Bytes>,
    nanoseconds: u64,
    bytes: *const c_void,
    size: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise.
        let (lane, series, bytes) =
            unsafe { (Tagged::of(lane)?, Tagged::of(series)?, content(bytes, size)?) };
        // SAFETY: the caller's promise.
        unsafe { lane.write(|lane| lane.bytes_at(series, Timestamp::from_nanos(nanoseconds), bytes)) }
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `lane`: as in [`dotter_lane_dot`]. `row`, `cells`: as in [`dotter_cells`](crate::dotter_cells).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_lane_cells(
    lane: *const Tagged<OwnLane>,
    row: *const Tagged<Row>,
    cells: *const Cell,
    count: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise.
        let (lane, row) = unsafe { (Tagged::of(lane)?, Tagged::of(row)?) };
        // SAFETY: the caller's promise, for the cells as for the lane.
        unsafe { row.words(cells, count, |row, words| lane.write(|lane| lane.any_row(row, words))) }?
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_lane_cells`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_lane_cells_at(
    lane: *const Tagged<OwnLane>,
    row: *const Tagged<Row>,
    nanoseconds: u64,
    cells: *const Cell,
    count: usize,
) -> c_int {
    let time = Timestamp::from_nanos(nanoseconds);
    guard(code, || {
        // SAFETY: the caller's promise.
        let (lane, row) = unsafe { (Tagged::of(lane)?, Tagged::of(row)?) };
        // SAFETY: the caller's promise, for the cells as for the lane.
        unsafe { row.words(cells, count, |row, words| lane.write(|lane| lane.any_row_at(row, time, words))) }?
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use dotter_publisher::Publisher;

    #[test]
    fn a_handler_that_interrupts_a_dot_is_told_so_and_writes_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let publisher = Publisher::create(dir.path(), 1).unwrap();
        let series = publisher.series("a").unwrap();
        let lane = publisher.lane().unwrap();
        let own = OwnLane { busy: AtomicBool::new(false), lane: UnsafeCell::new(lane) };
        let write = |value: f64, meanwhile: &dyn Fn()| {
            // SAFETY: there is only this thread.
            let written = unsafe {
                own.write(|lane| {
                    lane.dot(&series, value);
                    meanwhile();
                })
            };
            written.map_err(Failure::note)
        };
        let handler = || assert_eq!(write(2.0, &|| ()), Err(-10));
        assert_eq!(write(1.0, &handler), Ok(0));
        assert_eq!(write(3.0, &|| ()), Ok(0));
        assert_eq!(publisher.published()[0], 2);
    }
}
