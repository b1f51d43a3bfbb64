//! `struct dotter_series`: a series of numbers of one of four types.

use std::ffi::{c_char, c_int};
use std::ptr;

use dotter_publisher::{Number, Series, Timestamp};

use crate::border::{code, const_null, guard, name, unit};
use crate::failure::Failure;
use crate::publisher::{Handle, Kept, Named, Shelf};
use crate::tagged::{Tag, Tagged, tag};

tag!(Series<f64>, b"dot: f64", "the series of f64");
tag!(Series<f32>, b"dot: f32", "the series of f32");
tag!(Series<i64>, b"dot: i64", "the series of i64");
tag!(Series<u64>, b"dot: u64", "the series of u64");

/// A number that can be a series of its own.
trait Kind: Number {
    /// Where series of it are kept.
    fn shelf(kept: &mut Kept) -> &mut Shelf<Named, Series<Self>>;
}

macro_rules! kinds {
    ($($type:ident $shelf:ident),*) => {$(
        impl Kind for $type {
            fn shelf(kept: &mut Kept) -> &mut Shelf<Named, Series<$type>> {
                &mut kept.$shelf
            }
        }
    )*};
}

kinds!(f64 f64s, f32 f32s, i64 i64s, u64 u64s);

/// Where C finds a series, whatever its numbers are.
type Any = *const Tagged<Series<f64>>;

/// Where the series of that name and unit is, for as long as the handle is.
fn series<N: Kind>(handle: &Handle, name: &str, unit: &str) -> Result<Any, Failure>
where
    Series<N>: Tag,
{
    let mut series = handle.publisher.series_of::<N>(name)?;
    if !unit.is_empty() {
        series = series.unit(unit);
    }
    let key = (series.name().clone(), unit.to_owned());
    handle.kept(|kept| {
        let series = N::shelf(kept).entry(key).or_insert_with(|| Box::new(Tagged::new(series)));
        ptr::from_ref::<Tagged<Series<N>>>(series).cast()
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// `dotter`: as in [`dotter_counts`](crate::dotter_counts). `name`, `unit`: NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_series_of(
    dotter: *const Tagged<Handle>,
    name_text: *const c_char,
    unit_text: *const c_char,
    letter: c_char,
) -> Any {
    guard(const_null, || {
        // SAFETY: the caller's promise; a publisher is only ever used as shared.
        let handle = unsafe { Tagged::of(dotter) }?;
        // SAFETY: the caller's promise.
        let (name, unit) = unsafe { (name(name_text)?, unit(unit_text)?) };
        match letter as u8 {
            b'F' => series::<f64>(handle, name, unit),
            b'f' => series::<f32>(handle, name, unit),
            b'I' => series::<i64>(handle, name, unit),
            b'U' => series::<u64>(handle, name, unit),
            found => Err(Failure::columns(&format!(
                "the letter '{}' is no series of numbers, expected 'F', 'f', 'I' or 'U'; no series",
                found.escape_ascii()
            ))),
        }
    })
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_series_of`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_series(dotter: *const Tagged<Handle>, name: *const c_char) -> Any {
    // SAFETY: the caller's promise.
    unsafe { dotter_series_of(dotter, name, ptr::null(), b'F' as c_char) }
}

/// See `dotter.h`.
///
/// # Safety
///
/// As [`dotter_series_of`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn dotter_series_with_unit(
    dotter: *const Tagged<Handle>,
    name: *const c_char,
    unit: *const c_char,
) -> Any {
    // SAFETY: the caller's promise.
    unsafe { dotter_series_of(dotter, name, unit, b'F' as c_char) }
}

macro_rules! dots {
    ($($type:ident $dot:ident $dot_at:ident),*) => {$(
        /// See `dotter.h`.
        ///
        /// # Safety
        ///
        /// `series`: NULL, or of a publisher that is not closed.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $dot(series: *const Tagged<Series<$type>>, value: $type) -> c_int {
            guard(code, || {
                // SAFETY: the caller's promise; nobody has another than a shared reference.
                unsafe { Tagged::of(series) }?.dot(value);
                Ok(0)
            })
        }

        /// See `dotter.h`.
        ///
        /// # Safety
        ///
        /// `series`: NULL, or of a publisher that is not closed.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $dot_at(
            series: *const Tagged<Series<$type>>,
            nanoseconds: u64,
            value: $type,
        ) -> c_int {
            guard(code, || {
                // SAFETY: as above.
                unsafe { Tagged::of(series) }?.dot_at(Timestamp::from_nanos(nanoseconds), value);
                Ok(0)
            })
        }
    )*};
}

dots!(
    f64 dotter_dot dotter_dot_at,
    f32 dotter_dot_f32 dotter_dot_at_f32,
    i64 dotter_dot_i64 dotter_dot_at_i64,
    u64 dotter_dot_u64 dotter_dot_at_u64
);
