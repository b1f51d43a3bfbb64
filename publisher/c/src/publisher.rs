//! `struct dotter`: a publisher, and all that was asked of it.

use std::collections::HashMap;
use std::ffi::{OsStr, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr;
use std::sync::{Mutex, PoisonError};

use dotter_publisher::{Bytes, Counter, Publisher, Series, SeriesName, Text};
use dotter_ring::SlowPath;

use crate::border::{bytes, code, guard, null, utf8};
use crate::cells::Row;
use crate::failure::Failure;
use crate::tagged::{Tagged, tag};

/// `struct dotter`
pub struct Handle {
    pub(crate) publisher: Publisher,
    /// Locked only inside the slow path, so that a forked child finds it free.
    kept: Mutex<Kept>,
}

tag!(Handle, b"dot:home", "the publisher");

/// What C has pointers to, by what it asked for. Boxed: it stays where it is until the publisher goes.
pub(crate) type Shelf<K, T> = HashMap<K, Box<Tagged<T>>>;

/// A name and a unit.
pub(crate) type Named = (SeriesName, String);

/// One shelf for each kind of thing.
#[derive(Default)]
pub(crate) struct Kept {
    pub(crate) f64s: Shelf<Named, Series<f64>>,
    pub(crate) f32s: Shelf<Named, Series<f32>>,
    pub(crate) i64s: Shelf<Named, Series<i64>>,
    pub(crate) u64s: Shelf<Named, Series<u64>>,
    pub(crate) texts: Shelf<SeriesName, Text>,
    pub(crate) bytes: Shelf<SeriesName, Bytes>,
    /// By name, unit, letters and columns.
    pub(crate) rows: Shelf<(Named, String, Vec<String>), Row>,
    pub(crate) counters: Shelf<Named, Counter>,
}

impl Handle {
    /// Looks among what is kept.
    pub(crate) fn kept<T>(&self, look: impl FnOnce(&mut Kept) -> T) -> Result<T, Failure> {
        let _inside = SlowPath::enter().ok_or(Failure::interrupted())?;
        Ok(look(&mut self.kept.lock().unwrap_or_else(PoisonError::into_inner)))
    }
}

/// `struct dotter_options`
#[repr(C)]
pub struct Options {
    struct_bytes: u32,
    lanes_max: u32,
    lane_dots: u64,
    registry_bytes: u64,
    dead_bytes_max: u64,
    application: *const c_char,
    path: *const c_char,
    instance: *const c_char,
}

/// `struct dotter_counts`
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    struct_bytes: u64,
    published: u64,
    refused_series: u64,
    refused_signal_handler: u64,
    refused_too_big: u64,
    refused_other: u64,
}

// The header makes the same statements to the C compiler.
#[cfg(target_pointer_width = "64")]
const _: () = {
    assert!(size_of::<Options>() == 56);
    assert!(std::mem::offset_of!(Options, lanes_max) == 4);
    assert!(std::mem::offset_of!(Options, lane_dots) == 8);
    assert!(std::mem::offset_of!(Options, registry_bytes) == 16);
    assert!(std::mem::offset_of!(Options, dead_bytes_max) == 24);
    assert!(std::mem::offset_of!(Options, application) == 32);
    assert!(std::mem::offset_of!(Options, path) == 40);
    assert!(std::mem::offset_of!(Options, instance) == 48);
};
const _: () = {
    assert!(size_of::<Counts>() == 48);
    assert!(std::mem::offset_of!(Counts, published) == 8);
    assert!(std::mem::offset_of!(Counts, refused_series) == 16);
    assert!(std::mem::offset_of!(Counts, refused_signal_handler) == 24);
    assert!(std::mem::offset_of!(Counts, refused_too_big) == 32);
    assert!(std::mem::offset_of!(Counts, refused_other) == 40);
};

fn open(options: dotter_publisher::Options, instance: Option<&str>) -> Result<*mut Tagged<Handle>, Failure> {
    // Looked at here, where it can be said, and not with each name.
    if let Some(instance) = instance
        && (instance.contains(';') || SeriesName::new(&format!("a;instance={instance}")).is_err())
    {
        let shown: String = instance.chars().take(80).collect();
        return Err(Failure::text(&format!(
            "the instance {shown:?} is no value of a tag, expected 1 or more bytes without ';' and control \
             characters; no ring was made"
        )));
    }
    let mut publisher = options.open()?;
    if let Some(instance) = instance {
        publisher = publisher.instance(instance);
    }
    Ok(Box::into_raw(Box::new(Tagged::new(Handle { publisher, kept: Mutex::default() }))))
}

/// See `dotter.h`.
///
/// # Safety
///
/// `application`: NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_open(application: *const c_char) -> *mut Tagged<Handle> {
    guard(null, || {
        let mut options = Publisher::options();
        // SAFETY: the caller's promise.
        if let Some(name) = unsafe { bytes(application) } {
            options = options.application(utf8(name, "application")?);
        }
        open(options, None)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `path`: NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_create(path: *const c_char, dots: u64) -> *mut Tagged<Handle> {
    guard(null, || {
        // SAFETY: the caller's promise.
        let path = unsafe { bytes(path) }.ok_or(Failure::null(c"the path is NULL; no ring was made"))?;
        open(Publisher::options().path(Path::new(OsStr::from_bytes(path))).lane_dots(dots), None)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `options`: NULL, or a struct as the header declares it whose texts are NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_open_with(options: *const Options) -> *mut Tagged<Handle> {
    guard(null, || {
        if options.is_null() {
            return Err(Failure::null(c"the options are NULL; no ring was made"));
        }
        // SAFETY: not NULL; the first field is there whatever the struct's size.
        let found = unsafe { (*options).struct_bytes };
        if found as usize != size_of::<Options>() {
            let expected = size_of::<Options>();
            return Err(Failure::size(&format!(
                "the options say that they have {found} bytes, expected {expected}; no ring was made"
            )));
        }
        // SAFETY: all its fields are there.
        let options = unsafe { &*options };
        let mut wanted = Publisher::options();
        // SAFETY: the caller's promise.
        if let Some(name) = unsafe { bytes(options.application) } {
            wanted = wanted.application(utf8(name, "application")?);
        }
        // SAFETY: as above.
        if let Some(path) = unsafe { bytes(options.path) } {
            wanted = wanted.path(Path::new(OsStr::from_bytes(path)));
        }
        if options.lane_dots > 0 {
            wanted = wanted.lane_dots(options.lane_dots);
        }
        if options.lanes_max > 0 {
            wanted = wanted.lanes_max(options.lanes_max);
        }
        if options.registry_bytes > 0 {
            wanted = wanted.registry_bytes(options.registry_bytes);
        }
        if options.dead_bytes_max > 0 {
            wanted = wanted.dead_bytes_max(options.dead_bytes_max);
        }
        // SAFETY: as above.
        let instance = unsafe { bytes(options.instance) }.map(|text| utf8(text, "instance")).transpose()?;
        open(wanted, instance)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: NULL, or from one of the functions that open and not closed. `counts`: NULL, or a struct whose
/// first field says how long it is.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_counts(dotter: *const Tagged<Handle>, counts: *mut Counts) -> c_int {
    guard(code, || {
        // SAFETY: the caller's promise; a publisher is only ever used as shared.
        let handle = unsafe { Tagged::of(dotter) }?;
        if counts.is_null() {
            return Err(Failure::null(c"the counts are NULL; nothing counted"));
        }
        // SAFETY: not NULL; the first field is there whatever the struct's size.
        let found = unsafe { (*counts).struct_bytes };
        let expected = size_of::<Counts>() as u64;
        if found != expected {
            return Err(Failure::size(&format!(
                "the counts say that they have {found} bytes, expected {expected}; nothing counted"
            )));
        }
        let refused = handle.publisher.refused();
        let now = Counts {
            struct_bytes: expected,
            published: handle.publisher.published().iter().sum(),
            refused_series: refused.series,
            refused_signal_handler: refused.signal_handler,
            refused_too_big: refused.too_big,
            refused_other: refused.other,
        };
        // SAFETY: the struct is as long as ours, as it has just said.
        unsafe { counts.write(now) };
        Ok(0)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_counts`]. `buffer`: NULL, or `bytes` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_path(
    dotter: *const Tagged<Handle>,
    buffer: *mut c_char,
    bytes: usize,
) -> c_int {
    guard(code, || {
        // SAFETY: as in `dotter_counts`.
        let handle = unsafe { Tagged::of(dotter) }?;
        let path = handle.publisher.path();
        let path = path.as_os_str().as_bytes();
        let length =
            c_int::try_from(path.len()).map_err(|_| Failure::size("the path is too long; not copied"))?;
        if !buffer.is_null() && bytes > 0 {
            let copied = path.len().min(bytes - 1);
            // SAFETY: `copied` and one more fit into the caller's buffer, and no path of ours lies in it.
            unsafe {
                ptr::copy_nonoverlapping(path.as_ptr().cast(), buffer, copied);
                buffer.add(copied).write(0);
            }
        }
        Ok(length)
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_counts`]; neither it nor what it gave is used any more, but for lanes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_close(dotter: *mut Tagged<Handle>) -> c_int {
    guard(code, || {
        if !dotter.is_null() {
            // SAFETY: as in `dotter_counts`.
            unsafe { Tagged::of(dotter) }?;
            // SAFETY: it came from `Box::into_raw` in `open`, and the caller gives it up.
            drop(unsafe { Box::from_raw(dotter) });
        }
        Ok(0)
    })
}
