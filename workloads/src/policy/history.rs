//! Live history: prompts continue what the engine answers now, instead of what was recorded.

use nomoat_core::prompt::{BlockPrompt, Messages, Prompt};
use nomoat_core::trace::{Join, Moment, Trace};

/// Makes the turns of linear sessions continue the run's own answers. A turn that follows several requests, or whose prompt is shorter than
/// what was said before it (a compaction), keeps its recorded history.
pub(super) fn live(trace: &mut Trace) -> Result<(), String> {
    let mut made = 0_u64;
    for index in 0..trace.requests.len() {
        let request = &trace.requests[index];
        let [edge] = request.after[..] else { continue };
        let before = &trace.requests[edge.request.0 as usize];
        if request.session.is_none() || before.session != request.session || edge.on != Moment::End || request.join != Join::All {
            continue;
        }
        let said = u64::from(before.input_tokens) + u64::from(before.output_tokens);
        let Some(new) = u64::from(request.input_tokens).checked_sub(said).filter(|new| *new > 0) else { continue };
        let add = match &request.prompt {
            // A recorded conversation is said again turn by turn. One that begins with instructions keeps its recorded history: they would be
            // said by a user.
            Prompt::Messages(messages) => {
                let Some(text) = messages.messages.last().and_then(|message| spoken(message)) else { continue };
                match &before.prompt {
                    Prompt::Live { .. } | Prompt::Text(_) => {}
                    Prompt::Messages(Messages { messages, tools: None }) if messages.len() == 1 => {
                        let Some(opening) = spoken(&messages[0]) else { continue };
                        trace.requests[edge.request.0 as usize].prompt = Prompt::Text(opening.into());
                    }
                    _ => continue,
                }
                Prompt::Text(text.into())
            }
            Prompt::Blocks(_) | Prompt::Parts(_) => Prompt::Blocks(BlockPrompt::unique(0, index as u64, new as u32)),
            Prompt::Text(_) | Prompt::Ids(_) | Prompt::Live { .. } => continue,
        };
        trace.requests[index].prompt = Prompt::Live { of: edge.request, add: Box::new(add) };
        made += 1;
    }
    if made == 0 {
        return Err(format!("trace `{}` has no turn that could continue a live answer", trace.name));
    }
    trace
        .losses
        .push(format!("{made} of {} prompts continue this run's own answers: prompt lengths depend on the engine", trace.requests.len()));
    Ok(())
}

/// The text of a user's message.
fn spoken(message: &str) -> Option<String> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    (message["role"] == "user").then(|| message["content"].as_str().map(str::to_owned)).flatten()
}
