package providertest

// claude describes a model, with every field that the vendor's type requires.
func claude(id string) object {
	no := object{"supported": false}
	yes := object{"supported": true}
	return object{
		"id": id, "type": "model", "display_name": "Claude, a fake", "created_at": "2026-01-01T00:00:00Z",
		"lifecycle": "active", "deprecated_at": nil, "retires_at": nil, "line": nil,
		"max_input_tokens": 200_000, "max_tokens": 8192,
		"capabilities": object{
			"batch": no, "citations": no, "code_execution": no, "image_input": yes, "pdf_input": no, "structured_outputs": yes,
			"context_management": object{
				"supported": false, "clear_thinking_20251015": no, "clear_tool_uses_20250919": no, "compact_20260112": no,
			},
			"effort":       object{"supported": false, "high": no, "low": no, "max": no, "medium": no, "xhigh": no},
			"server_tools": object{"supported": false, "code_execution": no, "web_search": no},
			"thinking":     object{"supported": false, "types": object{"adaptive": no, "between_tools": no, "disabled": yes, "enabled": no}},
		},
	}
}

// message is the same answer to every question.
func message(id, model string) object {
	return object{
		"id": id, "type": "message", "role": "assistant", "model": model,
		"content":     []object{{"type": "text", "text": cannedAnswer, "citations": nil}},
		"stop_reason": "end_turn", "stop_sequence": nil, "stop_details": nil, "container": nil, "diagnostics": nil,
		"usage": object{
			"input_tokens": 1, "output_tokens": 8, "cache_creation_input_tokens": nil, "cache_read_input_tokens": nil,
			"cache_creation": nil, "inference_geo": nil, "output_tokens_details": nil, "server_tool_use": nil, "service_tier": "standard", "speed": nil,
		},
	}
}
