//! What a look at the machine gives.

/// One number.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Reading {
    /// Below the machine's own prefix: `cpu.user`.
    pub(super) name: String,
    pub(super) unit: &'static str,
    pub(super) value: f64,
}
