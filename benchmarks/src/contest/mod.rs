//! A comparison: contestants that do the same work, in turns.

mod contestant;
mod measure;
mod operation;
mod side;
mod value;

pub(crate) use self::contestant::{Contestant, Does};
pub(crate) use self::measure::{Budget, Cell, Measured, Spread, compare, timed};
pub(crate) use self::operation::{Load, Operation, size_name};
pub(crate) use self::side::{Ready, Side, side};
pub(crate) use self::value::{next, value};
