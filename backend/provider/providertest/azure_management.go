package providertest

import (
	"net/http"
	"strings"
	"time"
)

// azureAPIVersion is the one version of the management API that is served.
const azureAPIVersion = "2025-06-01"

// operationPath is where the state of an operation is asked for.
const operationPath = "/locations/westeurope/operationStatuses/"

// management serves what follows /subscriptions. Names are matched without
// regard to case, as the vendor does.
func (z *Azure) management(r *http.Request, parts []string, body []byte) reply {
	if out, ok := z.authorize(r); !ok {
		return out
	}
	if r.URL.Query().Get("api-version") != azureAPIVersion || len(r.URL.Query()) != 1 {
		return z.fail(http.StatusBadRequest, "InvalidApiVersionParameter", "the api-version is not "+azureAPIVersion)
	}
	if len(parts) < 2 || !strings.EqualFold(parts[1], z.c.options.Azure.SubscriptionID) {
		return z.fail(http.StatusNotFound, "SubscriptionNotFound", "The subscription could not be found.")
	}
	rest := parts[2:]
	group := ""
	if len(rest) > 2 && strings.EqualFold(rest[0], "resourceGroups") {
		group, rest = rest[1], rest[2:]
	}
	const provider = "providers/Microsoft.CognitiveServices/"
	path := strings.Join(rest, "/")
	if len(path) < len(provider) || !strings.EqualFold(path[:len(provider)], provider) {
		return z.fail(http.StatusNotFound, "InvalidResourceType", "The resource type could not be found.")
	}
	rest = rest[2:]
	switch {
	case group == "" && len(rest) == 4 && strings.EqualFold(rest[2], "operationStatuses"):
		return z.operationStatus(r, rest[3])
	case !strings.EqualFold(rest[0], "accounts"):
		return z.fail(http.StatusNotFound, "InvalidResourceType", "The resource type could not be found.")
	case len(rest) == 1 && r.Method == http.MethodGet:
		return z.listResources(group)
	case len(rest) == 1 || group == "":
		return z.fail(http.StatusMethodNotAllowed, "MethodNotAllowed", "not offered here")
	}
	return z.resource(r, AzureResource{Group: group, Name: rest[1]}, rest[2:], body)
}

func (z *Azure) resource(r *http.Request, asked AzureResource, rest []string, body []byte) reply {
	for _, res := range z.c.options.Azure.Resources {
		if !strings.EqualFold(res.Group, asked.Group) || !strings.EqualFold(res.Name, asked.Name) {
			continue
		}
		switch action := strings.ToLower(strings.Join(rest, "/")); {
		case action == "" && r.Method == http.MethodGet:
			return jsonReply(http.StatusOK, z.view(res))
		case action == "listkeys" && r.Method == http.MethodPost:
			return z.listKeys(res)
		case action == "regeneratekey" && r.Method == http.MethodPost:
			return z.regenerate(r, res, body)
		default:
			return z.fail(http.StatusNotFound, "NotFound", "not offered here")
		}
	}
	return z.fail(http.StatusNotFound, "ResourceNotFound",
		"The Resource 'Microsoft.CognitiveServices/accounts/"+asked.Name+"' under resource group '"+asked.Group+"' was not found.")
}

func (z *Azure) listResources(group string) reply {
	value := []object{}
	for _, res := range z.c.options.Azure.Resources {
		if group == "" || strings.EqualFold(group, res.Group) {
			value = append(value, z.view(res))
		}
	}
	return jsonReply(http.StatusOK, object{"value": value})
}

func (z *Azure) view(res AzureResource) object {
	return object{
		"id":   z.subscriptionPath() + "/resourceGroups/" + res.Group + "/providers/Microsoft.CognitiveServices/accounts/" + res.Name,
		"name": res.Name, "type": "Microsoft.CognitiveServices/accounts", "kind": "OpenAI", "location": "westeurope",
		"etag": `W/"datetime'2026-01-01T00%3A00%3A00Z'"`, "sku": object{"name": "S0"}, "tags": object{},
		"properties": object{
			"endpoint": z.endpoint(res), "customSubDomainName": strings.ToLower(res.Name),
			"provisioningState": "Succeeded", "publicNetworkAccess": "Enabled", "disableLocalAuth": false,
			"dateCreated": "2026-01-01T00:00:00.0000000Z", "isMigrated": false,
		},
	}
}

func (z *Azure) subscriptionPath() string {
	return "/subscriptions/" + z.c.options.Azure.SubscriptionID
}

func (z *Azure) listKeys(res AzureResource) reply {
	return jsonReply(http.StatusOK, object{
		"key1": z.slot(res, azureSlots[0]).Secret, "key2": z.slot(res, azureSlots[1]).Secret,
	})
}

func (z *Azure) regenerate(r *http.Request, res AzureResource, body []byte) reply {
	var slot arg[string]
	if err := readObject(r, body, map[string]any{"keyName": &slot}); err != nil {
		return z.fail(http.StatusBadRequest, "InvalidRequestContent", err.Error())
	}
	if slot.value != azureSlots[0] && slot.value != azureSlots[1] {
		return z.fail(http.StatusBadRequest, "InvalidKeyName", "keyName must be Key1 or Key2")
	}
	if z.async == 0 {
		z.issue(res, slot.value)
		return z.listKeys(res)
	}
	op := &operation{
		id: z.c.id("operation-"), resource: res, slot: slot.value, fails: z.asyncFails, done: time.Now().Add(z.async),
	}
	z.operations = append(z.operations, op)
	at := "https://" + r.Host + z.subscriptionPath() + "/providers/Microsoft.CognitiveServices" +
		operationPath + op.id + "?api-version=" + azureAPIVersion
	out := reply{status: http.StatusAccepted, header: http.Header{}}
	out.header.Set("Azure-AsyncOperation", at)
	out.header.Set("Retry-After", "1")
	return out
}

func (z *Azure) operationStatus(r *http.Request, id string) reply {
	for _, op := range z.operations {
		if op.id != id || r.Method != http.MethodGet {
			continue
		}
		state := object{"id": r.URL.Path, "name": op.id, "status": "InProgress"}
		switch {
		case op.settled && op.fails:
			state["status"] = "Failed"
			state["error"] = object{"code": "InternalServerError", "message": "the operation failed"}
		case op.settled:
			state["status"] = "Succeeded"
		}
		out := jsonReply(http.StatusOK, state)
		if !op.settled {
			out.header.Set("Retry-After", "1")
		}
		return out
	}
	return z.fail(http.StatusNotFound, "NotFound", "no such operation")
}
