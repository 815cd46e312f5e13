//! One request: route, attempts, response.
//!
//! [`exchange`] reads from top to bottom what happens to a request; the decisions it takes on the way are pure and live in
//! the other files: [`route`] (which answer or destination), [`split`] (which of several destinations), [`retry`] (again or
//! not), [`timeout`] (until when). [`crate::upstream::upload`] knows whether the body can be sent again, [`stream`] keeps the books.

mod answer;
mod arrival;
mod attempt;
pub mod exchange;
mod kept_head;

pub mod retry;
pub mod route;
pub mod split;
pub mod stream;
pub mod timeout;

mod state;
mod states;

pub use state::RouteState;
pub use states::RouteStates;
