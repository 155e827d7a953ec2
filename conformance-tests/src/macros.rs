/// Makes one `#[tokio::test]` for each case of the contract, named `module::group::sentence`.
///
/// The expression makes a [`Subject`](crate::Subject); it is evaluated once per test, in an async context. Attributes on
/// the module go on each of its tests: with `#[cfg_attr(not(my_server), ignore = "set MY_SERVER")]` (and
/// [`configured`](crate::configured) in a build script) a store that is not configured shows as ignored. The crate it
/// is used in needs `tokio` with `macros` and `rt-multi-thread`.
///
/// ```
/// use statestore_api::MemoryStore;
/// use statestore_conformance::{Subject, conformance_tests};
///
/// conformance_tests! {
///     mod memory = Subject::new(MemoryStore::new());
/// }
/// # fn main() {}
/// ```
///
/// Some cases need more of the subject and are asked for by name: `with restart` needs
/// [`Subject::with_reopen`](crate::Subject::with_reopen), `with clock` needs [`Subject::with_clock`](crate::Subject::with_clock):
///
/// ```
/// # use statestore_api::{ManualClock, MemoryStore};
/// # use statestore_conformance::{Subject, conformance_tests};
/// conformance_tests! {
///     mod memory = {
///         let clock = ManualClock::new();
///         Subject::new(MemoryStore::with_clock(clock.clone())).with_clock(clock)
///     }, with clock;
/// }
/// # fn main() {}
/// ```
#[macro_export]
macro_rules! conformance_tests {
    ($(#[$attribute:meta])* mod $name:ident = $subject:expr $(, with $($section:ident),+)? ;) => {
        $crate::conformance_tests! { @module [$(#[$attribute])*] $name {$subject} $($($section)+)? }
    };
    (@module $attributes:tt $name:ident $subject:tt $($section:ident)*) => {
        mod $name {
            #[allow(unused_imports, reason = "whatever the subject needs")]
            use super::*;

            $crate::__contract_cases! { $crate::__tests, $attributes $subject }
            $($crate::conformance_tests! { @section $section $attributes $subject })*
        }
    };
    (@section restart $attributes:tt $subject:tt) => {
        $crate::__restart_cases! { $crate::__tests, $attributes $subject }
    };
    (@section clock $attributes:tt $subject:tt) => {
        $crate::__clock_cases! { $crate::__tests, $attributes $subject }
    };
}

/// A module for each group, with a test for each of its cases.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ($attributes:tt $subject:tt $($group:ident { $($case:ident)+ })+) => {$(
        mod $group {
            #[allow(unused_imports, reason = "whatever the subject needs")]
            use super::*;

            $($crate::__test! { $attributes $subject $group $case })+
        }
    )+};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __test {
    ([$($attribute:tt)*] {$subject:expr} $group:ident $case:ident) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        $($attribute)*
        async fn $case() {
            $crate::__case!($group $case).run($subject).await;
        }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __case {
    ($group:ident $case:ident) => {
        $crate::Case::new(concat!(stringify!($group), "::", stringify!($case)), |subject| {
            ::std::boxed::Box::pin($crate::cases::$group::$case(subject))
        })
    };
}

/// A list of [`Case`](crate::Case)s.
macro_rules! case_list {
    ($($group:ident { $($case:ident)+ })+) => { vec![$($($crate::__case!($group $case)),+),+] };
}
