//! The keys of an answer that mean something here.

/// A step of the path to a value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Name {
    /// Any other key.
    #[default]
    Other,
    /// An item of an array.
    Item,
    Arguments,
    CacheHit,
    CacheMiss,
    CacheWrite,
    CacheWriteSplit,
    Cached,
    Choices,
    Code,
    Completion,
    CompletionDetails,
    Content,
    Cost,
    Delta,
    Error,
    FinishReason,
    Id,
    Index,
    Message,
    Model,
    NumCached,
    Object,
    Output,
    Prompt,
    PromptDetails,
    Reasoning,
    ReasoningDetails,
    Refusal,
    Response,
    Role,
    SequenceNumber,
    ServiceTier,
    Status,
    Summary,
    Text,
    Ticks,
    Total,
    Ttl12h,
    Ttl30m,
    Type,
    Usage,
    XGroq,
}

// ---------------------------------------------------------------- impl Name

impl Name {
    /// Chat and responses name the same things differently; some hosts misspell them.
    pub(super) fn of(key: &[u8]) -> Self {
        match key {
            b"arguments" => Self::Arguments,
            b"cache_write_tokens" => Self::CacheWrite,
            b"cache_write_tokens_details" => Self::CacheWriteSplit,
            b"cached_tokens" => Self::Cached,
            b"choices" => Self::Choices,
            b"code" => Self::Code,
            b"completion_tokens" | b"output_tokens" => Self::Completion,
            b"completion_tokens_details"
            | b"completion_token_details"
            | b"output_tokens_details" => Self::CompletionDetails,
            b"content" => Self::Content,
            b"cost" => Self::Cost,
            b"cost_in_usd_ticks" => Self::Ticks,
            b"delta" => Self::Delta,
            b"error" => Self::Error,
            b"finish_reason" => Self::FinishReason,
            b"id" => Self::Id,
            b"index" => Self::Index,
            b"message" => Self::Message,
            b"model" => Self::Model,
            b"num_cached_tokens" => Self::NumCached,
            b"object" => Self::Object,
            b"output" => Self::Output,
            b"prompt_cache_hit_tokens" => Self::CacheHit,
            b"prompt_cache_miss_tokens" => Self::CacheMiss,
            b"prompt_tokens" | b"input_tokens" => Self::Prompt,
            b"prompt_tokens_details" | b"prompt_token_details" | b"input_tokens_details" => {
                Self::PromptDetails
            }
            b"reasoning_details" => Self::ReasoningDetails,
            b"reasoning_tokens" => Self::Reasoning,
            b"refusal" => Self::Refusal,
            b"response" => Self::Response,
            b"role" => Self::Role,
            b"sequence_number" => Self::SequenceNumber,
            b"service_tier" => Self::ServiceTier,
            b"status" => Self::Status,
            b"summary" => Self::Summary,
            b"text" => Self::Text,
            b"total_tokens" => Self::Total,
            b"ttl_12h_tokens" => Self::Ttl12h,
            b"ttl_30m_tokens" => Self::Ttl30m,
            b"type" => Self::Type,
            b"usage" => Self::Usage,
            b"x_groq" => Self::XGroq,
            _ => Self::Other,
        }
    }
}
