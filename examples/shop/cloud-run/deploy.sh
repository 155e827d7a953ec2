#!/usr/bin/env bash
# Deploys the shop: deploy.sh PROJECT REGION IMAGE, with an image of the Dockerfile beside this that is in a registry.
set -euo pipefail
project=$1 region=$2 image=$3

# The state: a Firestore database, and the fields that need no index. The expiry has the service's own sweep.
gcloud firestore databases create --project="$project" --database=shop --location="$region" --type=firestore-native
for field in v w x; do
    gcloud firestore indexes fields update "$field" --project="$project" --database=shop \
        --collection-group=state-items --disable-indexes
done
gcloud firestore fields ttls update x --project="$project" --database=shop --collection-group=state-items --enable-ttl

# An identity that may use this one database, and nothing else.
account=statestore-shop@$project.iam.gserviceaccount.com
gcloud iam service-accounts create statestore-shop --project="$project"
gcloud projects add-iam-policy-binding "$project" --member="serviceAccount:$account" --role=roles/datastore.user \
    --condition="title=shop-only,expression=resource.name == 'projects/$project/databases/shop'"

gcloud run deploy shop --project="$project" --region="$region" --image="$image" \
    --service-account="$account" --allow-unauthenticated --timeout=15s --cpu=1 --memory=256Mi \
    --set-env-vars="STATESTORE_URL=firestore://$project/state?database=shop&retry_deadline=10s"

# Every five minutes: what instances that died have left to be delivered.
url=$(gcloud run services describe shop --project="$project" --region="$region" --format='value(status.url)')
gcloud scheduler jobs create http shop-deliveries --project="$project" --location="$region" \
    --schedule='*/5 * * * *' --http-method=POST --uri="$url/deliveries" --attempt-deadline=30s
