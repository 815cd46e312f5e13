//! A format as rendered: operators resolved, JSON keys encoded, wanted headers listed.

use std::sync::Arc;

use outrigger_config::model::{AccessLogFormat, AccessLogSettings, FormatPiece};

use super::json;
use super::operator::{Operator, WantedHeaders};

/// A compiled access log.
#[derive(Debug)]
pub struct AccessLog {
    settings: AccessLogSettings,
    pub(super) template: Template,
    pub(super) wanted: WantedHeaders,
    unknown: Vec<String>,
}

/// What a line is made of.
#[derive(Debug)]
pub(super) enum Template {
    Text(Vec<Piece>),
    /// Encoded key with its colon, then the value's pieces.
    Json(Vec<(String, Vec<Piece>)>),
}

/// Verbatim text, or an operator with the longest value it may print, in bytes.
#[derive(Debug)]
pub(super) enum Piece {
    Text(String),
    Operator(Operator, Option<usize>),
}

impl AccessLog {
    /// Compiles settings. Operators that do not exist print `-` and are named by [`AccessLog::unknown`].
    pub fn compile(settings: &AccessLogSettings) -> AccessLog {
        let mut compiler = Compiler::default();
        let template = match &settings.format {
            AccessLogFormat::Text(pieces) => Template::Text(compiler.pieces(pieces)),
            AccessLogFormat::Json(fields) => {
                let field = |(key, pieces): &(String, Vec<FormatPiece>)| (json::key(key), compiler.pieces(pieces));
                Template::Json(fields.iter().map(field).collect())
            }
        };
        AccessLog { settings: settings.clone(), template, wanted: compiler.wanted, unknown: compiler.unknown }
    }

    /// The compiled form of `settings`, reusing `previous` when nothing changed.
    pub fn reuse_or_compile(settings: Option<&AccessLogSettings>, previous: Option<&Arc<AccessLog>>) -> Option<Arc<AccessLog>> {
        let settings = settings?;
        let same = previous.filter(|previous| previous.settings == *settings);
        Some(same.cloned().unwrap_or_else(|| Arc::new(AccessLog::compile(settings))))
    }

    /// Where lines go: `/dev/stdout`, `/dev/stderr` or a file.
    pub fn path(&self) -> &str {
        &self.settings.path
    }

    /// Operators of the format that do not exist, as written.
    pub fn unknown(&self) -> &[String] {
        &self.unknown
    }
}

/// Settings for the flags `--access-log`, `--access-log-format` and `--access-log-encoding`.
///
/// # Errors
/// A format that cannot be parsed.
pub fn settings_from_flags(path: Option<&str>, format: Option<&str>, json: bool) -> anyhow::Result<Option<AccessLogSettings>> {
    let Some(path) = path.or_else(|| format.map(|_| "/dev/stdout")) else { return Ok(None) };
    let (settings, problem) = outrigger_config::compile::access_log_settings(path, json, format.unwrap_or_default());
    match problem {
        Some(problem) => anyhow::bail!("--access-log-format: {problem}"),
        None => Ok(settings),
    }
}

#[derive(Default)]
struct Compiler {
    wanted: WantedHeaders,
    unknown: Vec<String>,
}

impl Compiler {
    fn pieces(&mut self, pieces: &[FormatPiece]) -> Vec<Piece> {
        pieces.iter().map(|piece| self.piece(piece)).collect()
    }

    fn piece(&mut self, piece: &FormatPiece) -> Piece {
        match piece {
            FormatPiece::Text(text) => Piece::Text(text.clone()),
            FormatPiece::Command { name, argument } => {
                // A length limit stays within the name's text: `REQ:10` is `%REQ(..):10%`.
                let (name, limit) = name.split_once(':').map_or((name.as_str(), None), |(name, limit)| (name, limit.parse().ok()));
                let operator = Operator::parse(name, argument.as_deref(), &mut self.wanted);
                if operator.is_none() {
                    self.unknown.push(argument.as_ref().map_or_else(|| format!("%{name}%"), |argument| format!("%{name}({argument})%")));
                }
                Piece::Operator(operator.unwrap_or(Operator::Missing), limit)
            }
        }
    }
}
