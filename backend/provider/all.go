package provider

import "slices"

// All is every provider, by name. A new provider is one line here.
var All = []Definition{
	anthropic,
	azureOpenAI,
	openAI,
}

// Lookup finds a provider by name.
func Lookup(name string) (Definition, bool) {
	i := slices.IndexFunc(All, func(d Definition) bool { return d.Name == name })
	if i < 0 {
		return Definition{}, false
	}
	return All[i], true
}
